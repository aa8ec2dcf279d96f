"""Building a model with one option of each choice instead of all of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from multinas_ray.errors import ConfigError

_chosen: ContextVar[Mapping[str, str] | None] = ContextVar("chosen", default=None)


@contextmanager
def only(chosen: Mapping[str, str]) -> Iterator[None]:
    """Within it, models are built with the chosen options alone.

    So options that are given as factories never take memory, and layers of elastic width have their own size and a
    fresh start that fits it.

    Args:
        chosen: the label of the chosen option, by the name of its choice.
    """
    token = _chosen.set(chosen)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen_index(name: str, labels: tuple[str, ...]) -> int | None:
    """The option of a choice with which a model is being built; None where it gets all options.

    Raises:
        ConfigError: an option is not among those of the choice, or there is no word of the choice.
    """
    chosen = _chosen.get()
    if chosen is None:
        return None
    if chosen.get(name) not in labels:
        raise ConfigError(
            f"the choice {name!r} must be built with one of its options ({', '.join(labels)}), got "
            f"{chosen.get(name)!r}: build the model by the same function and arguments as its space"
        )
    return labels.index(chosen[name])
