"""MultiNASSearch, the searcher for anyone's Tune pipeline, and what its record answers. No torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
