"""The record of a search on disk: writing it durably during the search, reading, resuming and verifying it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
