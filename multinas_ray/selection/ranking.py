"""The combined rank: what a network's loss with the supernet's weights and its prior say together.

Notation: N candidates of one goal, P parts of the prior, D positions, C candidate blocks (padded).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt

from multinas_ray.selection.goals import Goal
from multinas_ray.selection.outcome import Architecture
from multinas_ray.selection.pool import Candidate
from multinas_ray.selection.smoothing import smoothed_losses
from multinas_ray.settings import Unchecked, checked
from multinas_ray.spaces import BoolArray, FloatArray


@dataclass(frozen=True, eq=False)
class Ranks:
    """The ranks of some candidates among each other. All lie in (0, 1], and the least is the best."""

    combined_N: FloatArray
    """Weighted mean of the others: the loss counts 1, each part of the prior its weight."""
    loss_N: FloatArray
    """By the loss, or by loss + coefficient * complexity."""
    prior_PN: FloatArray
    """By each part of the prior; there may be none."""


@checked
@dataclass(frozen=True, eq=False, kw_only=True)
class Ranking:
    """How the candidates of a goal are ranked. Without a prior they are ranked by loss alone."""

    weight: float = 1.0
    """How much each part of the prior counts, where the loss counts 1."""
    prior: Annotated[Mapping[str, Mapping[Architecture, float]], Unchecked()] = field(default_factory=dict)
    """The figures of every candidate by each part of the prior."""
    skips_DC: BoolArray | None = None
    """Which blocks are skips, for smoothing; None: losses are not smoothed."""

    def ranks(
        self, goal: Goal, candidates: Sequence[Candidate], losses: Sequence[float], *, few_images: bool = False
    ) -> Ranks:
        """Rank candidates of a goal among each other.

        The combined rank is the weighted mean of their ranks by loss and by each part of the prior. Ranks need no
        scale, and so what is combined need have none in common. [ours]

        For a coefficient the prior is ranked by what it says beyond the size: by the residuals of a linear fit of each
        part on the complexity. The coefficient has said already what size is worth, and every part rises with it.
        [ours]

        Args:
            goal: what they are considered for.
            candidates: at least one.
            losses: finite losses on the same images.
            few_images: whether the images are few. The rank by loss is then the mean of those by the losses and by the
                smoothed losses. [ours]
        """
        losses_N = np.asarray(losses, dtype=np.float64)
        sizes_N = np.array([each.complexity for each in candidates])
        penalties_N = (goal.coefficient or 0.0) * sizes_N
        loss_N = scaled_ranks(losses_N + penalties_N)
        if few_images and self.skips_DC is not None:
            rows_ND = np.array([each.architecture for each in candidates], dtype=np.int64)
            smoothed_N = smoothed_losses(rows_ND, losses_N, self.skips_DC)
            loss_N = (loss_N + scaled_ranks(smoothed_N + penalties_N)) / 2
        prior_PN = self._prior_ranks(goal, candidates, sizes_N)
        total = 1 + self.weight * len(prior_PN)
        return Ranks((loss_N + self.weight * prior_PN.sum(axis=0)) / total, loss_N, prior_PN)

    def _prior_ranks(self, goal: Goal, candidates: Sequence[Candidate], sizes_N: FloatArray) -> FloatArray:
        ranks = []
        for figures in self.prior.values():
            values_N = np.array([figures[each.architecture] for each in candidates], dtype=np.float64)
            if not goal.limits:
                values_N = _beyond_size(values_N, sizes_N)
            ranks.append(scaled_ranks(-values_N))
        return np.array(ranks).reshape(len(self.prior), len(candidates))


def scaled_ranks(values: npt.ArrayLike) -> FloatArray:
    """(N,) ranks from the least to the largest value divided by their number; equal values have their mean rank.

    NaN ranks last.
    """
    values_N = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    _, place_N, count = np.unique(values_N, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    ranks_N: FloatArray = (last - (count - 1) / 2)[place_N.reshape(-1)] / max(1, len(values_N))
    return ranks_N


def _beyond_size(values_N: FloatArray, sizes_N: FloatArray) -> FloatArray:
    """(N,) the residuals of a linear fit on the size, but for rounding; what is not finite stays as it is."""
    known_N = np.isfinite(values_N)
    residuals_N = values_N.copy()
    if known_N.any():
        sizes_K, values_K = (each[known_N] - each[known_N].mean() for each in (sizes_N, values_N))
        spread = float(sizes_K @ sizes_K)
        slope = float(sizes_K @ values_K) / spread if spread else 0.0
        digits = 9 - int(np.floor(np.log10(max(float(np.abs(values_N[known_N]).max()), 1e-300))))
        residuals_N[known_N] = np.round(values_K - slope * sizes_K, digits)
    return residuals_N
