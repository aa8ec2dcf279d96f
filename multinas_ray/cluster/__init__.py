"""Ray: joining or starting it, what its nodes must have, spot notices, metrics, the user's own code."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
