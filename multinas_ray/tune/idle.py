"""Detects that Tune runs nothing although it did not report the end of all trials."""

import math
import time
from collections.abc import Mapping

IDLE_POLL_SECONDS = 0.9
"""Tune asks again at once while trials run, and once a second when none runs."""

IDLE_POLLS = 3
"""After this many refused requests in a row at that pace, running trials count as lost, since Tune does not report all
ends."""


class IdleWatch:
    """Detects from the pace of Tune's requests that nothing runs, although the end of some trials was not reported."""

    def __init__(self) -> None:
        self._lost: set[str] = set()
        self._count = 0
        self._last_seconds = -math.inf

    def num_running(self, live: Mapping[str, object]) -> int:
        """Number of running trials that are not lost."""
        return len(live) - sum(trial_id in live for trial_id in self._lost)

    def reset(self) -> None:
        """Start again, since Tune is at work."""
        self._count = 0
        self._last_seconds = time.monotonic()

    def refuse(self, live: Mapping[str, object]) -> bool:
        """Note a refused request; True if it shows that all running trials are lost.

        The result of a lost trial is still accepted; the trial only no longer keeps others from running.
        """
        now = time.monotonic()
        self._count = self._count + 1 if now - self._last_seconds >= IDLE_POLL_SECONDS else 0
        self._last_seconds = now
        if self._count < IDLE_POLLS:
            return False
        self._count, self._lost = 0, set(live)
        return True
