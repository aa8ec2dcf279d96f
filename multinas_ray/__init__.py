"""One neural architecture search, K networks.

The core's names are here, loaded when they are asked for; loading this package loads neither Ray nor torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
