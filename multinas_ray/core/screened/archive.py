"""The archive of everything evaluated; only a bounded part of it is used for each new evaluation.

Notation: K distributions, D variables, A distinct architectures evaluated, S of them the surrogate is fitted on.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.layout import CategoryLayout

ScoresOf: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]

SUPPORT_LIMIT = 256
"""The largest S. It bounds the surrogate's cost per evaluation. [ours]"""

REFERENCE_ROWS = 32
"""Hypervolume gains are counted from the 90 % quantile of the losses of this many first results. [ours]"""


class Archive:
    """Distinct architectures with their results, the front among them, and the surrogate's points.

    The archive depends only on the told results and their order. An architecture that is told again keeps its first
    result, unless that one had failed.
    """

    def __init__(self, layout: CategoryLayout) -> None:
        self._num_rows = 0
        most = max(layout.num_values)
        self._kind = np.min_scalar_type(-most if layout.conditional else most - 1)  # the smallest: the archive grows
        self._architectures_AD = np.zeros((64, len(layout.last_D)), dtype=self._kind)
        self._values_A2 = np.zeros((64, 2))
        self._rows: dict[bytes, int] = {}
        self.support: list[int] = []
        """Rows on which the surrogate is fitted, oldest first."""
        self.front: list[int] = []
        """Rows that no other row dominates, by ascending complexity; of equal rows only the first."""

    @classmethod
    def from_columns(
        cls,
        layout: CategoryLayout,
        architectures_AD: IntArray,
        losses_A: FloatArray,
        complexities_A: FloatArray,
        support: list[int],
        front: list[int],
    ) -> "Archive":
        """Builds an archive from its rows in order, its support and its front."""
        archive = cls(layout)
        for row, key in enumerate(archive.keys(architectures_AD)):
            archive._rows[key] = row
            archive._append(architectures_AD[row])
        archive._values_A2[: len(losses_A)] = np.stack([losses_A, complexities_A], axis=1)
        archive.support, archive.front = support, front
        return archive

    def __len__(self) -> int:
        return self._num_rows

    def architectures(self, rows: Sequence[int] | slice = slice(None)) -> IntArray:
        """Returns a copy of all (A, D) architectures, or of the given rows."""
        return self._architectures_AD[: self._num_rows][rows].astype(np.int64)

    @property
    def losses(self) -> FloatArray:
        """(A,), inf for a failed evaluation; a view."""
        return self._values_A2[: self._num_rows, 0]

    @property
    def complexities(self) -> FloatArray:
        """(A,), 0 for a failed evaluation; a view."""
        return self._values_A2[: self._num_rows, 1]

    def keys(self, architectures_ND: IntArray) -> list[bytes]:
        """Returns (N,) the keys under which architectures are stored."""
        data, size = architectures_ND.astype(self._kind).tobytes(), self._kind.itemsize * architectures_ND.shape[1]
        return [data[start : start + size] for start in range(0, len(data), size)]

    def knows(self, key: bytes) -> bool:
        """Returns whether the architecture of this key was evaluated."""
        return key in self._rows

    def rows_of(self, architectures_ND: IntArray) -> IntArray:
        """Returns (N,): the rows of architectures, -1 for one that is not known."""
        return np.array([self._rows.get(key, -1) for key in self.keys(architectures_ND)], dtype=np.int64)

    def add(self, architecture_D: IntArray, loss: float, complexity: float) -> bool:
        """Adds one result; returns whether it replaces a failed one."""
        loss, complexity = (loss, complexity) if np.isfinite(loss) else (np.inf, 0.0)
        row = self._rows.setdefault(self.keys(architecture_D[None])[0], self._num_rows)
        is_new = row == self._num_rows
        if not is_new and np.isfinite(self._values_A2[row, 0]):
            return False
        if is_new:
            self._append(architecture_D)
        self._values_A2[row] = loss, complexity
        if is_new or row not in self.support:
            self.support.append(row)
        self._update_front(row)
        return not is_new

    def best_within(self, limits_K: FloatArray, count: int) -> list[int]:
        """Returns the rows of the `count` least losses within each limit of the complexity, each row once.

        Where no complexity is within a limit, the least complex rows stand for them.
        """
        rows: dict[int, None] = {}
        finite_A = np.isfinite(self.losses)
        for limit in limits_K:
            within_A = finite_A & (self.complexities <= limit)
            values_A = np.where(within_A, self.losses, np.inf) if within_A.any() else self.complexities
            order_A = np.where(finite_A, values_A, np.inf).argsort(kind="stable")
            rows |= dict.fromkeys(order_A[: min(count, max(int(within_A.sum()), 1))].tolist())
        return list(rows) if finite_A.any() else []

    def trim_support(self, scores_of: ScoresOf) -> None:
        """Drops the least useful rows of the support's older half where the support is too large.

        Args:
            scores_of: from (S,) losses and complexities to the (K, S) scores that the distributions minimise.
        """
        excess = len(self.support) - SUPPORT_LIMIT
        if excess > 0:
            dropped = set(self._least_useful(scores_of, excess).tolist())
            self.support = [row for place, row in enumerate(self.support) if place not in dropped]

    def reference(self) -> tuple[float, float]:
        """Returns the loss and the complexity from which hypervolume gains are counted."""
        first_R = self.losses[:REFERENCE_ROWS]
        finite_R = first_R[np.isfinite(first_R)]
        loss = float(np.quantile(finite_R, 0.9)) if len(finite_R) else np.inf
        return loss, float(self.complexities[self.support].max())

    def _append(self, architecture_D: IntArray) -> None:
        if self._num_rows == len(self._values_A2):
            self._architectures_AD = np.concatenate([self._architectures_AD, np.zeros_like(self._architectures_AD)])
            self._values_A2 = np.concatenate([self._values_A2, np.zeros_like(self._values_A2)])
        self._architectures_AD[self._num_rows] = architecture_D
        self._num_rows += 1

    def _least_useful(self, scores_of: ScoresOf, count: int) -> IntArray:
        """Returns (count,) places in the support's older half: those whose best rank by any f_k is worst."""
        scores_KS = scores_of(self.losses[self.support], self.complexities[self.support])
        ranks_KS = scores_KS.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        worst_first: IntArray = (-ranks_KS.min(axis=0)[: SUPPORT_LIMIT // 2]).argsort(kind="stable")
        return worst_first[:count]

    def _update_front(self, row: int) -> None:
        loss, complexity = self._values_A2[row]
        others_F2 = self._values_A2[self.front]
        if not np.isfinite(loss) or ((others_F2[:, 0] <= loss) & (others_F2[:, 1] <= complexity)).any():
            return
        stays_F = (others_F2[:, 0] < loss) | (others_F2[:, 1] < complexity)
        rows = [other for other, stays in zip(self.front, stays_F, strict=True) if stays] + [row]
        self.front = sorted(rows, key=lambda member: float(self._values_A2[member, 1]))


def hypervolume_gains(
    losses_N: FloatArray, complexities_N: FloatArray, front_F2: FloatArray, reference_2: tuple[float, float]
) -> FloatArray:
    """Returns (N,): the area that each point by itself adds to the area dominated by the front, below the reference.

    Args:
        losses_N: losses, minimised.
        complexities_N: complexities, minimised.
        front_F2: any (loss, complexity) points; dominated ones do no harm.
        reference_2: largest loss and complexity that count.
    """
    front_F2 = front_F2[np.argsort(front_F2[:, 1], kind="stable")]
    starts_S = np.append(-np.inf, np.minimum(front_F2[:, 1], reference_2[1]))
    ends_S = np.append(starts_S[1:], reference_2[1])
    heights_S = np.minimum.accumulate(np.append(reference_2[0], front_F2[:, 0]))
    widths_NS = np.maximum(ends_S - np.maximum(starts_S, complexities_N[:, None]), 0.0)
    gains_N: FloatArray = (widths_NS * np.maximum(heights_S - losses_N[:, None], 0.0)).sum(axis=1)
    return gains_N
