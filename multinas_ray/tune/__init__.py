"""MultiNASSearch, the searcher for any Tune pipeline, and the answers from its record. Without torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
