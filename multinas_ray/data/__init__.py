"""Images for a search: sources, fixed splits, and batches that are a pure function of the step."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
