"""The budget of a goal: its limits together with the costs that they bound.

Notation: N architectures, D variables.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from multinas_ray.spaces import BoolArray, Cost, FloatArray, IntArray

PART = 128
"""Architectures whose costs are asked for at once where the first of many are sought. [ours]"""


@dataclass(frozen=True, eq=False)
class Budget:
    """Largest allowed costs, and what architectures need of them."""

    limits: Mapping[str, float]
    """The largest allowed value of each cost named, in its own unit; none: every architecture keeps them."""
    costs: Mapping[str, Cost]
    """Every cost of the run, by name."""

    def excess(self, rows_ND: IntArray) -> FloatArray:
        """(N,) how far the worst cost of each one lies above its limit, as a share of it; negative if below."""
        return self.excess_of({name: self.costs[name](rows_ND) for name in self.limits})

    def excess_of(self, values: Mapping[str, FloatArray]) -> FloatArray:
        """(N,) the same for the values of the limited costs, (N,) each."""
        shares = [(values[name] - limit) / (abs(limit) or 1.0) for name, limit in self.limits.items()]
        excess_N: FloatArray = np.max(shares, axis=0)
        return excess_N

    def keeps(self, rows_ND: IntArray) -> BoolArray:
        """(N,) whether each architecture keeps every limit."""
        keeps_N = np.ones(len(rows_ND), dtype=bool)
        for name, limit in self.limits.items():
            keeps_N &= self.costs[name](rows_ND) <= limit
        return keeps_N

    def uses(self, rows_ND: IntArray, share: float) -> BoolArray:
        """(N,) whether each keeps every limit and lies in the last part of one; all that keep them if `share` is 1."""
        keeps_N = self.keeps(rows_ND)
        return keeps_N if share >= 1 else keeps_N & (self.excess(rows_ND) > -share)

    def first_of(self, rows_ND: IntArray, share: float, number: int) -> IntArray:
        """The first (at most `number`) of (N, D) architectures that `uses` finds; costs of later ones are not asked."""
        found, missing = [rows_ND[:0]], number
        for start in range(0, len(rows_ND), PART):
            if missing <= 0:
                break
            part_ND = rows_ND[start : start + PART]
            found.append(part_ND[self.uses(part_ND, share)][:missing])
            missing -= len(found[-1])
        return np.concatenate(found)

    def num_draws(self, most: int) -> int:
        """Architectures that are drawn at once: `most`, or as many as the slowest of the limited costs allows."""
        slow = [self.costs[name].num_draws for name in self.limits]
        return min([most, *(each for each in slow if each < Cost.num_draws)])
