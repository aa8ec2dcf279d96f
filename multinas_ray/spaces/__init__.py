"""What can be chosen and what it costs: search spaces, additive costs, network spaces. No torch at import."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
