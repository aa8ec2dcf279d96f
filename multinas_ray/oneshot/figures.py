"""The figures of a one-shot search, for Ray's metrics."""

from __future__ import annotations

import math
import time

from multinas_ray.cluster import Figures
from multinas_ray.oneshot.schedule import FinishedRound, Schedule
from multinas_ray.settings import Measured, checked_arguments


class RoundFigures:
    """The figures of a one-shot search.

    Args:
        schedule: the rounds and distributions of the search.
        complexity_scale: the cost that counts as a complexity of 1.
    """

    @checked_arguments
    def __init__(self, schedule: Schedule, complexity_scale: Measured) -> None:
        self._schedule, self._complexity_scale = schedule, complexity_scale
        self._checkpoint_seconds = math.nan

    def note(self, finished: FinishedRound) -> None:
        """Take note of a round, and of whether a checkpoint follows it."""
        if finished.result.checkpoint_follows:
            self._checkpoint_seconds = time.monotonic()

    def figures(self) -> Figures:
        """Return the present figures."""
        schedule = self._schedule
        age_seconds = time.monotonic() - self._checkpoint_seconds
        return Figures(
            diagnostics=schedule.optimizer.diagnostics(),
            complexity_scale=self._complexity_scale,
            totals={"evaluations": schedule.optimizer.num_told, "rounds": schedule.next_round},
            levels={"rounds_in_flight": schedule.num_in_flight, "checkpoint_age_seconds": age_seconds},
        )
