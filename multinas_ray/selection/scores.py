"""How good candidates are, and whether the validation images can tell two of them apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from multinas_ray.settings import Measured

NUM_PARTS = 20
"""Parts of the validation images whose mean losses are kept: enough for a standard error, few to store. [ours]"""


class Score(NamedTuple):
    """How good a network is on some validation images."""

    loss: Measured
    """Mean over the images; minimised."""
    accuracy: Measured
    """Share of the images that are classified correctly, or the primary metric of another task."""
    part_losses: tuple[Measured, ...] = ()
    """Mean loss of each part of the images, the same parts for all networks; empty if they are not known."""
    images: int = 0
    """Number of the images; 0 if it is not known."""


def part_means(values: npt.ArrayLike) -> tuple[float, ...]:
    """The mean of each of NUM_PARTS parts of per-image values; a part is every NUM_PARTS-th image.

    There are fewer parts if there are fewer images.
    """
    array = np.asarray(values, dtype=np.float64)
    return tuple(float(array[part::NUM_PARTS].mean()) for part in range(min(NUM_PARTS, len(array))))


def standard_error(losses: Sequence[float], others: Sequence[float]) -> float:
    """Standard error of the difference of two networks' losses, from their part losses; 0 if these are not known."""
    if len(losses) < 2 or len(losses) != len(others):
        return 0.0
    differences = np.asarray(losses) - np.asarray(others)
    return float(differences.std(ddof=1) / np.sqrt(len(differences)))
