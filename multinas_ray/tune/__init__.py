"""Ray Tune's side of a search: searchers, trials, blocks of rounds, and what a person sees. Loads no torch."""

from multinas_ray.tune.multinas import MultiNASSearch

__all__ = ["MultiNASSearch"]
