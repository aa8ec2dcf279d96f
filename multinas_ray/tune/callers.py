"""What Tune tells no searcher: found in the calls that lead to it, since Ray 2.60 has no other way.

A searcher is told neither the experiment's folder nor whether a `ConcurrencyLimiter` batches.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import FrameType

from ray.tune.search import ConcurrencyLimiter


def limiter_batches() -> bool:
    """Whether the `ConcurrencyLimiter` that is calling waits for whole batches."""
    for frame in _callers():
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConcurrencyLimiter):
            return owner.batch
    return False


def _callers() -> Iterator[FrameType]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
