"""Latencies on a device: measuring blocks, latency tables, and the comparison with whole networks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
