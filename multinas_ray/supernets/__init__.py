"""The single-path supernet on torch: blocks, training and evaluation steps, subnets. No Ray here."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
