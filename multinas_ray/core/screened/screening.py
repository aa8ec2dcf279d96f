"""Which candidates are worth an evaluation, by a surrogate's optimistic predictions.

Notation: K distributions, N candidates, F points of the front. All [ours]; docs/METHOD.md, "The screened
search".
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.screened.archive import hypervolume_gains
from multinas_ray.core.screened.surrogate import Prediction
from multinas_ray.core.utility import scalarised_losses

OPTIMISM = (1.0, 3.0)
"""Standard deviations below the predicted loss at which candidates are compared, by turns. With few a search polishes
what it has and may stay there for long, since predicted deviations are often too small; with many it moves on."""


@dataclass(frozen=True, eq=False)
class Criteria:
    """What candidates are compared by: in turns, the best for one f_k, k going round, and the gain of hypervolume."""

    coefficients_K: FloatArray
    front_F2: FloatArray
    """(loss, complexity) of what is known and not dominated."""
    reference_2: tuple[float, float]
    """Largest loss and complexity that count."""

    def choose(self, candidates: Prediction, pending: Prediction, turns: Iterable[int]) -> list[int]:
        """Returns the row of a candidate for each turn, no row twice.

        Args:
            candidates: N, at least as many as turns.
            pending: what is out or chosen already: it counts as known at its prediction, which keeps choices apart.
            turns: whose turn it is; a number that goes up by one for each choice.
        """
        rows: list[int] = []
        losses_ON = [candidates.losses(optimism) for optimism in OPTIMISM]
        known_OF2 = [
            np.concatenate([self.front_F2, np.stack([pending.losses(optimism), pending.complexities_N], axis=1)])
            for optimism in OPTIMISM
        ]
        for turn in turns:
            half, by_gain = divmod(turn, 2)
            lap, k = divmod(half, len(self.coefficients_K))
            o = (k + lap) % len(OPTIMISM)
            points_N2 = np.stack([losses_ON[o], candidates.complexities_N], axis=1)
            row = self._largest_gain(points_N2, known_OF2[o], rows) if by_gain else None
            rows.append(self._best_for(k, points_N2, rows) if row is None else row)
        return rows

    def _largest_gain(self, points_N2: FloatArray, known_F2: FloatArray, taken: list[int]) -> int | None:
        """None if no candidate would gain anything."""
        known_F2 = np.concatenate([known_F2, points_N2[taken]])
        gains_N = hypervolume_gains(points_N2[:, 0], points_N2[:, 1], known_F2, self.reference_2)
        gains_N[taken] = 0.0
        return int(gains_N.argmax()) if gains_N.max() > 0.0 else None

    def _best_for(self, k: int, points_N2: FloatArray, taken: list[int]) -> int:
        scores_KN = scalarised_losses(points_N2[:, 0], points_N2[:, 1], self.coefficients_K[k : k + 1])
        scores_KN[0, taken] = np.inf
        return int(scores_KN[0].argmin())
