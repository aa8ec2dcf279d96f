"""Choices in an ordinary PyTorch model: the model becomes a supernet, and its networks come out of it. Without Ray."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
