"""Ray: joining or starting a cluster, checks of its nodes, spot notices, metrics, and loading the user's own code."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
