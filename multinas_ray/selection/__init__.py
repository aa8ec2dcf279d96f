"""From a search to networks: goals, the pool of candidates, their scores, the choice, the family."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
