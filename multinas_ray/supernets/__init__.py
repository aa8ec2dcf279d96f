"""The single-path supernet in PyTorch: blocks, training and evaluation steps, subnets. Without Ray."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
