"""The choice of what to evaluate, by a surrogate's optimistic predictions.

Notation: K distributions, N architectures of the screening set, F points of the front. All [ours]; docs/METHOD.md,
"The screened search".
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.screened.archive import hypervolume_gains
from multinas_ray.core.screened.surrogate import Prediction
from multinas_ray.core.utility import scalarised_losses

OPTIMISM = (1.0, 3.0)
"""Architectures are compared at this many standard deviations below the predicted loss, in turns. With few, a search
refines what it has and may stay there for long, since predicted deviations are often too small; with many, it moves
on."""


@dataclass(frozen=True, eq=False)
class Criteria:
    """The criteria of the choice where coefficients are given.

    In turns they are the best for one f_k, with k cycling, and the gain of hypervolume.
    """

    coefficients_K: FloatArray
    front_F2: FloatArray
    """(loss, complexity) of the known architectures that are not dominated."""
    reference_2: tuple[float, float]
    """Largest loss and complexity that count."""

    def choose(self, screened: Prediction, pending: Prediction, turns: Iterable[int]) -> list[int]:
        """Returns one row of the screening set for each turn, no row twice.

        Args:
            screened: predictions for the screening set, at least as many as turns.
            pending: predictions for what was chosen before and has no result yet. They count as results, so that new
                choices keep away from them.
            turns: the numbers of the turns, which rise by one from choice to choice.
        """
        rows: list[int] = []
        losses_ON = [screened.losses(optimism) for optimism in OPTIMISM]
        known_OF2 = [
            np.concatenate([self.front_F2, np.stack([pending.losses(optimism), pending.complexities_N], axis=1)])
            for optimism in OPTIMISM
        ]
        for turn in turns:
            half, by_gain = divmod(turn, 2)
            lap, k = divmod(half, len(self.coefficients_K))
            o = (k + lap) % len(OPTIMISM)
            points_N2 = np.stack([losses_ON[o], screened.complexities_N], axis=1)
            row = self._largest_gain(points_N2, known_OF2[o], rows) if by_gain else None
            rows.append(self._best_for(k, points_N2, rows) if row is None else row)
        return rows

    def _largest_gain(self, points_N2: FloatArray, known_F2: FloatArray, taken: list[int]) -> int | None:
        """Returns the row with the largest gain; None if no row would gain anything."""
        known_F2 = np.concatenate([known_F2, points_N2[taken]])
        gains_N = hypervolume_gains(points_N2[:, 0], points_N2[:, 1], known_F2, self.reference_2)
        gains_N[taken] = 0.0
        return int(gains_N.argmax()) if gains_N.max() > 0.0 else None

    def _best_for(self, k: int, points_N2: FloatArray, taken: list[int]) -> int:
        scores_KN = scalarised_losses(points_N2[:, 0], points_N2[:, 1], self.coefficients_K[k : k + 1])
        scores_KN[0, taken] = np.inf
        return int(scores_KN[0].argmin())


@dataclass(frozen=True, eq=False)
class TargetCriteria:
    """The criterion of the choice where targets are given: the least loss within T_k, with k cycling."""

    targets_K: FloatArray
    """Largest complexity of each network."""

    def choose(self, screened: Prediction, pending: Prediction, turns: Iterable[int]) -> list[int]:
        """Returns one row of the screening set for each turn, no row twice.

        Args:
            screened: predictions for the screening set, at least as many as turns.
            pending: not used, since no architecture of the screening set is pending.
            turns: the numbers of the turns, which rise by one from choice to choice.
        """
        rows: list[int] = []
        losses_ON = [screened.losses(optimism) for optimism in OPTIMISM]
        for turn in turns:
            lap, k = divmod(turn, len(self.targets_K))
            excess_N = np.maximum(screened.complexities_N - self.targets_K[k], 0.0)
            excess_N[rows] = np.inf
            rows.append(int(np.lexsort((losses_ON[(k + lap) % len(OPTIMISM)], excess_N))[0]))
        return rows
