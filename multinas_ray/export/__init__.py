"""Files of the chosen networks that run elsewhere, their parity check and the model card."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
