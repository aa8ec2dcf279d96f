"""How good candidates are, and whether two of them can be told apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

NUM_PARTS = 20
"""Parts of the validation images whose mean losses are kept: enough for an error, few enough to keep. [ours]"""


class Score(NamedTuple):
    """A network on all validation images."""

    loss: float
    """Mean over the images; minimised."""
    accuracy: float
    """Share of right answers."""
    part_losses: tuple[float, ...] = ()
    """Mean losses of parts of the images, the same parts for all networks compared; empty: not known."""


def part_means(values: npt.ArrayLike) -> tuple[float, ...]:
    """Means of the NUM_PARTS parts of per-image values: every NUM_PARTS-th image; fewer parts of fewer images."""
    array = np.asarray(values, dtype=np.float64)
    return tuple(float(array[part::NUM_PARTS].mean()) for part in range(min(NUM_PARTS, len(array))))


def standard_error(losses: Sequence[float], others: Sequence[float]) -> float:
    """Standard error of the difference of two networks' losses, from those of the same parts; 0 if not known."""
    if len(losses) < 2 or len(losses) != len(others):
        return 0.0
    differences = np.asarray(losses) - np.asarray(others)
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))
