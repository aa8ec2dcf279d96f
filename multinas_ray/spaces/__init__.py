"""What can be chosen and what it costs: search spaces, costs and network spaces. Importing it loads no torch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
