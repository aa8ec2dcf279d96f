"""Notices that Tune has nothing running, though it did not tell of the end of all trials."""

import math
import time
from collections.abc import Mapping

IDLE_POLL_SECONDS = 0.9
"""Tune asks again at once while trials run, and once a second when none does."""

IDLE_POLLS = 3
"""Refused polls of that pace in a row after which running trials count as lost: Tune does not tell of all ends."""


class IdleWatch:
    """Tells from the pace of Tune's questions that nothing runs, though trials were not told to be over."""

    def __init__(self) -> None:
        self._lost: set[str] = set()
        self._count = 0
        self._last_seconds = -math.inf

    def num_running(self, live: Mapping[str, object]) -> int:
        """How many trials are out and not lost."""
        return len(live) - sum(trial_id in live for trial_id in self._lost)

    def reset(self) -> None:
        """Something happened: Tune is at work."""
        self._count = 0
        self._last_seconds = time.monotonic()

    def refuse(self, live: Mapping[str, object]) -> bool:
        """Note a refused question; True if it shows that all that is out is lost.

        A lost trial's result is still welcome: it only no longer keeps others from running.
        """
        now = time.monotonic()
        self._count = self._count + 1 if now - self._last_seconds >= IDLE_POLL_SECONDS else 0
        self._last_seconds = now
        if self._count < IDLE_POLLS:
            return False
        self._count, self._lost = 0, set(live)
        return True
