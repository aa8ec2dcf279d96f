"""Judging by the true errors: how well networks are ranked within the slices, and how good K networks are."""

# K targets, N networks of a slice
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau

from experiments.compare.evolution import Architecture
from experiments.compare.settings import Settings
from experiments.compare.truth import best_within, slice_of
from experiments.parts.tables import Table
from multinas_ray.selection import scaled_ranks
from multinas_ray.spaces import FloatArray, IntArray

RANDOM_FAMILIES = 1_000
"""Families of random networks whose hypervolumes are a row of the table."""
FIRST = 10
"""Number of networks, ranked first, whose regret is told: about as many are evaluated on all images in the end."""


@dataclass(frozen=True)
class SliceRanking:
    """How well the networks of each slice are ranked."""

    tau_K: FloatArray
    """Kendall's tau with the true errors."""
    regret_K: FloatArray
    """Mean true error of the FIRST networks ranked first, above the least of the slice, in percentage points."""


class Judge:
    """Measures by the true accuracies and FLOPs.

    Args:
        truth: The table.
        settings: The comparison, whose space has FLOPs of its own.
    """

    def __init__(self, truth: Table, settings: Settings) -> None:
        self.truth, self.settings = truth, settings
        space = settings.space
        self.flops: FloatArray = space.costs["flops"](truth.architectures)
        """FLOPs of the searched space, by row."""
        self.best = best_within(truth, self.flops, settings.targets)
        """(K,) rows of the best true accuracy within each target."""
        self.slices = [slice_of(space, target) for target in settings.targets]
        """For each target (N, D) the networks of its slice."""
        self._best_hypervolume = truth.hypervolume(self.best)

    def share(self, rows: IntArray) -> float:
        """Hypervolume of networks as a share of that of the best within the targets."""
        return self.truth.hypervolume(rows) / self._best_hypervolume

    def errors(self, networks_ND: IntArray) -> FloatArray:
        """(N,) true errors in percent."""
        errors_N: FloatArray = self.truth.points[self.truth.rows(networks_ND), 0]
        return errors_N

    def ranking(self, *figures: Mapping[Architecture, float], weights: tuple[float, ...] = ()) -> SliceRanking:
        """Judge a ranking of the networks in the slices.

        Args:
            figures: For every network of the slices; minimised. Several are combined by their weighted ranks.
            weights: One for each; none: 1 each.
        """
        taus, regrets = [], []
        for networks_ND in self.slices:
            rows = list(map(tuple, networks_ND.tolist()))
            ranks = [scaled_ranks([each[row] for row in rows]) for each in figures]
            combined_N: FloatArray = np.average(ranks, axis=0, weights=weights or None)
            errors_N = self.errors(networks_ND)
            taus.append(kendalltau(combined_N, errors_N).statistic)
            first = np.argsort(combined_N, kind="stable")[:FIRST]
            regrets.append(errors_N[first].mean() - errors_N.min())
        return SliceRanking(np.array(taus), np.array(regrets))

    def perfect_ranking(self) -> SliceRanking:
        """The ranking by the true errors themselves. Its regret is the least that any ranking can have."""
        networks_ND = np.concatenate(self.slices)
        return self.ranking(dict(zip(map(tuple, networks_ND.tolist()), self.errors(networks_ND), strict=True)))

    def random_families(self) -> FloatArray:
        """Shares of families of one uniform pick from each slice."""
        rng = np.random.default_rng(0)
        picks = [self.truth.rows(rng.choice(each, RANDOM_FAMILIES)) for each in self.slices]
        return np.array([self.share(rows) for rows in np.stack(picks, axis=1)])
