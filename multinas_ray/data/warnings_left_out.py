"""Warnings of libraries about a person's images are left out; what should be known is told in words of our own."""

import re
import warnings

_PILLOW, _LOADER = r"PIL\b", "This DataLoader will create"
_FILTERS = (
    ("ignore", None, Warning, re.compile(_PILLOW), 0),
    ("ignore", re.compile(_LOADER, re.IGNORECASE), Warning, None, 0),
)
"""As Python keeps them."""


def leave_out_warnings() -> None:
    """Keep Pillow, and torch's loader of data, from printing warnings.

    It is called wherever they may warn, in whatever thread or process that is: a context in which warnings are left out
    is not safe among threads.
    """
    if not all(each in warnings.filters for each in _FILTERS):
        warnings.filterwarnings("ignore", module=_PILLOW)
        warnings.filterwarnings("ignore", _LOADER)
