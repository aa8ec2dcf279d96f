"""How much work something is, without a clock: the calls of functions that it makes."""

import cProfile
import pstats
from collections.abc import Callable


def calls_of(work: Callable[[], object]) -> int:
    """Number of calls, of Python's functions and of those in C; the same on a fast and on a busy machine."""
    profile = cProfile.Profile()
    profile.runcall(work)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]  # its annotation lags behind
