"""The algorithm, on numpy alone: K distributions, importance weights, utilities, ASNG, ask and tell."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
