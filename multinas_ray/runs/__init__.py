"""The record of a search on disk: written durably while it runs, read by anyone, verified."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
