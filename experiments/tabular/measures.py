"""Measures of the part of the exact front that a search has found.

Every measure is a hypervolume (computed by moocore) as a share of another, for points (error, cost), both minimised.
"""

# E evaluations, K distributions, A architectures in the table; points are (n, 2): error, then cost

from dataclasses import dataclass
from functools import cached_property

import moocore
import numpy as np

from experiments.parts.tables import Table
from multinas_ray.runs import best_subset
from multinas_ray.spaces import FloatArray, IntArray

NUM_ANSWERS = 8
"""K, the number of architectures that a search shall find."""


@dataclass(frozen=True, eq=False)
class Trace:
    """The course of one search: its distinct evaluations, in order."""

    rows_E: IntArray
    """(E,) places in the table, all different."""
    modes_EK: IntArray | None
    """(E, K) places of the modes after each evaluation; None for a method that has no distributions."""
    coefficients_K: FloatArray | None
    """(K,) of the distributions, for a loss as a share of 1 and a complexity as a share of the largest."""
    num_asked: int
    """Number of evaluations asked for, including repeated ones, which are free."""


class Measures:
    """Hypervolume shares on one table."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self._known: dict[tuple[int, ...], float] = {}

    @cached_property
    def front_hypervolume(self) -> float:
        """Hypervolume of the exact front."""
        return float(moocore.hypervolume(self.table.front, ref=self.table.reference))

    @cached_property
    def best_answers_share(self) -> float:
        """Hypervolume of the best NUM_ANSWERS points of the front, as a share of the whole front's; exact."""
        return best_subset_hypervolume(self.table.front, self.table.reference, NUM_ANSWERS) / self.front_hypervolume

    def share(self, rows: IntArray) -> float:
        """Hypervolume of these rows' points, as a share of the front's; the result is cached."""
        key = tuple(np.unique(rows).tolist())
        if key not in self._known:
            self._known[key] = self.table.hypervolume(np.array(key, dtype=np.int64)) / self.front_hypervolume
        return self._known[key]

    def archive_shares(self, rows_E: IntArray) -> FloatArray:
        """(E,) share of everything evaluated so far; it is computed again only when the front changes."""
        shares_E = np.zeros(len(rows_E))
        front, share = np.zeros((0, 2)), 0.0
        for e, point in enumerate(self.table.points[rows_E]):
            if not (front <= point).all(axis=1).any():
                front = np.vstack([front, point])
                front = front[moocore.is_nondominated(front)]
                share = float(moocore.hypervolume(front, ref=self.table.reference)) / self.front_hypervolume
            shares_E[e] = share
        return shares_E

    def answer_shares(self, rows_EK: IntArray) -> FloatArray:
        """(E,) hypervolume of K answers, as a share of that of the best NUM_ANSWERS points of the front."""
        return np.array([self.share(rows_K) for rows_K in rows_EK]) / self.best_answers_share

    def chosen_EK(self, trace: Trace) -> IntArray:
        """(E, K): the best evaluated so far by each f_k = loss + eps_k * complexity; of equal ones the first."""
        assert trace.coefficients_K is not None
        losses_E, complexities_E = self.table.losses[trace.rows_E], self.table.complexities[trace.rows_E]
        scores_EK = losses_E[:, None] + complexities_E[:, None] * trace.coefficients_K
        best_EK = np.minimum.accumulate(scores_EK, axis=0)
        is_new_EK = np.vstack([np.ones_like(best_EK[:1], dtype=bool), best_EK[1:] < best_EK[:-1]])
        steps_E1 = np.arange(len(scores_EK))[:, None]
        return trace.rows_E[np.maximum.accumulate(np.where(is_new_EK, steps_E1, 0), axis=0)]

    def best_subset_share(self, rows: IntArray) -> float:
        """Hypervolume of the best NUM_ANSWERS of these rows, as a share of that of the front's best; exact."""
        volume = best_subset_hypervolume(self.table.points[rows], self.table.reference, NUM_ANSWERS)
        return volume / self.front_hypervolume / self.best_answers_share


def best_subset_hypervolume(points: FloatArray, reference: FloatArray, size: int) -> float:
    """Returns the largest hypervolume of any `size` of the (n, 2) points; exact."""
    chosen = best_subset(points[:, 0], points[:, 1], size, (reference[0], reference[1]))
    return float(moocore.hypervolume(points[chosen], ref=reference)) if len(chosen) else 0.0


def first_at(shares_E: FloatArray, level: float) -> float:
    """Returns the number of evaluations after which a share first reached `level`; infinite if it never did."""
    reached = np.flatnonzero(shares_E >= level)
    return float(reached[0] + 1) if len(reached) else float("inf")
