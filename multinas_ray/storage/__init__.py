"""Reading and writing files: URIs, atomic files, Parquet tables, journals, plain data.

No other package renames, syncs or opens an object store.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
