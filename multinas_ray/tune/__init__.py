"""Ray Tune's side of a search: searchers, trials, blocks of rounds, and what a person sees. Loads no torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multinas_ray.tune.multinas import MultiNASSearch

__all__ = ["MultiNASSearch"]


def __getattr__(name: str) -> Any:
    """Load the searcher when it is asked for: trial actors import this package and need none of it."""
    if name == "MultiNASSearch":
        from multinas_ray.tune.multinas import MultiNASSearch

        return MultiNASSearch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
