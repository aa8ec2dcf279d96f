"""The one-shot search, whole: one call from a configuration to K networks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
