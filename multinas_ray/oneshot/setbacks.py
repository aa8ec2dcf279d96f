"""Noticing that the training losses of a search have jumped back, as they do when weights are lost."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

WINDOW = 10
"""Number of rounds whose mean loss is compared."""
LEAST_PROGRESS = 0.2
"""Share of the first loss that must be gained before a setback can be told from noise [ours]."""
SETBACK = 0.5
"""Share of the progress since the start whose loss is a setback [ours]."""


class SetbackCheck:
    """Compares the training loss of the newest rounds with the best that there was.

    Args:
        earlier: training losses of earlier sessions, in the order of their rounds.
    """

    def __init__(self, earlier: Iterable[float]) -> None:
        self._newest: list[float] = []
        self._first: float | None = None
        self._best = math.inf
        self._is_told = False
        for loss in earlier:
            self.check(loss)

    def check(self, train_loss: float) -> str | None:
        """Take the loss of the next round, NaN if it has none; returns a sentence at the beginning of a setback."""
        if math.isnan(train_loss):
            return None
        self._newest = [*self._newest[1 - WINDOW :], train_loss]
        if len(self._newest) < WINDOW:
            return None
        mean = float(np.mean(self._newest))
        self._first = mean if self._first is None else self._first
        self._best = min(self._best, mean)
        progress = self._first - self._best
        is_back = progress > LEAST_PROGRESS * abs(self._first) and not mean - self._best <= SETBACK * progress
        was_told, self._is_told = self._is_told, is_back
        if not is_back or was_told:
            return None
        return (
            f"The training loss has jumped back: its mean over the last {WINDOW} rounds is {mean:.3g}, after "
            f"{self._best:.3g}. Either weight steps were lost, or the learning rate is too high."
        )
