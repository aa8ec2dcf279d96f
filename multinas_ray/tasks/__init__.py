"""What networks are trained for: losses and metrics of any task, with classification as the default. Without Ray."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
