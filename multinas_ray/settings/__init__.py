"""Settings that check themselves, as plain data for files and flags. pydantic is loaded with the first object."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
