"""Files of a source that none of the three sets has, counted by reason."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multinas_ray.settings import checked


@checked
@dataclass(frozen=True)
class LeftOut:
    """Some files that are left out."""

    split: str
    """The split that they are missing from: train, validation or test; empty if they are of none or of any."""

    class_name: str
    """Their class; empty if they are of none."""

    reason: str
    """Why they are left out."""

    count: int
    """Number of files."""


def count_by_class(
    labels: npt.NDArray[np.int64], class_names: tuple[str, ...], reason: str, split: str
) -> tuple[LeftOut, ...]:
    """The files that are left out for one reason, from their labels (n,)."""
    counts = np.bincount(labels, minlength=len(class_names)).tolist()
    return tuple(
        LeftOut(split, name, reason, count) for name, count in zip(class_names, counts, strict=True) if count > 0
    )


def total_by_reason(left_out: Iterable[LeftOut]) -> dict[str, int]:
    """Number of files for each reason, largest first."""
    totals: Counter[str] = Counter()
    for each in left_out:
        totals[each.reason] += each.count
    return dict(totals.most_common())
