"""Everything evaluated, of which only a bounded part is looked at per evaluation.

Notation: K distributions, D variables, A distinct architectures evaluated, S of them the surrogate is fitted on.
"""

import numpy as np

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.utility import scalarised_losses

SUPPORT_LIMIT = 256
"""S at most: the surrogate's cost per evaluation is bounded by it. [ours]"""

REFERENCE_ROWS = 32
"""The first results, whose 90 % quantile of the losses is where hypervolume gains are counted from. [ours]"""


class Archive:
    """Distinct architectures with their results, the front among them, and the surrogate's points.

    It depends on the told results and their order alone. A repeated architecture keeps its first result, unless
    that had failed.
    """

    def __init__(self, num_variables: int) -> None:
        self._num_rows = 0
        self._architectures_AD = np.zeros((64, num_variables), dtype=np.int64)
        self._values_A2 = np.zeros((64, 2))
        self._rows: dict[bytes, int] = {}
        self.support: list[int] = []
        """Rows the surrogate is fitted on, oldest first."""
        self.front: list[int] = []
        """Rows that no other dominates, by ascending complexity; of equal ones the first."""

    @classmethod
    def from_columns(
        cls,
        architectures_AD: IntArray,
        losses_A: FloatArray,
        complexities_A: FloatArray,
        support: list[int],
        front: list[int],
    ) -> "Archive":
        """Builds the archive that had these rows, in order, this support and this front."""
        archive = cls(architectures_AD.shape[1])
        for row, architecture_D in enumerate(architectures_AD):
            archive._rows[architecture_D.tobytes()] = row
            archive._append(architecture_D)
        archive._values_A2[: len(losses_A)] = np.stack([losses_A, complexities_A], axis=1)
        archive.support, archive.front = support, front
        return archive

    def __len__(self) -> int:
        return self._num_rows

    @property
    def architectures(self) -> IntArray:
        """(A, D); a view."""
        return self._architectures_AD[: self._num_rows]

    @property
    def losses(self) -> FloatArray:
        """(A,), inf for a failed evaluation; a view."""
        return self._values_A2[: self._num_rows, 0]

    @property
    def complexities(self) -> FloatArray:
        """(A,), 0 for a failed evaluation; a view."""
        return self._values_A2[: self._num_rows, 1]

    def row_of(self, architecture_D: IntArray) -> int:
        """Returns the row of an architecture, -1 if it is not known."""
        return self._rows.get(architecture_D.tobytes(), -1)

    def add(self, architecture_D: IntArray, loss: float, complexity: float, coefficients_K: FloatArray) -> None:
        """Takes one result in."""
        loss, complexity = (loss, complexity) if np.isfinite(loss) else (np.inf, 0.0)
        row = self._rows.setdefault(architecture_D.tobytes(), self._num_rows)
        if row < self._num_rows and np.isfinite(self._values_A2[row, 0]):
            return
        if row == self._num_rows:
            self._append(architecture_D)
        self._values_A2[row] = loss, complexity
        if row not in self.support:
            self.support.append(row)
        if len(self.support) > SUPPORT_LIMIT:
            del self.support[self._least_useful(coefficients_K)]
        self._update_front(row)

    def reference(self) -> tuple[float, float]:
        """Returns the loss and the complexity that hypervolume gains are counted from."""
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

    def _least_useful(self, coefficients_K: FloatArray) -> int:
        """Returns the place in the support, among its older half, whose best rank by any f_k is worst."""
        scores_KS = scalarised_losses(self.losses[self.support], self.complexities[self.support], coefficients_K)
        ranks_KS = scores_KS.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        return int(ranks_KS.min(axis=0)[: SUPPORT_LIMIT // 2].argmax())

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
    """Returns (N,): the area each point by itself adds to what the front dominates, below the reference.

    Args:
        losses_N: minimised.
        complexities_N: minimised.
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
