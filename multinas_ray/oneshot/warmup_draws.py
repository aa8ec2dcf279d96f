"""The subnets that the warm-up trains: draws over the whole space, whatever the distributions are. No Ray, no torch."""

# T subnets of a weight step, D positions

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

STREAM = 17
"""Keeps these draws apart from others of the same seed."""

WarmupKind = Literal["uniform", "fair"]


@dataclass(frozen=True, kw_only=True)
class WarmupDraws:
    """The draws are functions of the seed and of the round, so that a resumed search needs no state of them.

    "uniform" draws each subnet independently. "fair" is the strict fairness of FairNAS (Chu et al., ICCV 2021): at a
    position of C blocks, the first C subnets train each block exactly once, and so do the next C, and so on. Where
    positions differ in C, each has this by itself [ours].
    """

    num_categories: Sequence[int]
    """(D,) number of blocks of each position."""
    seed: int
    kind: WarmupKind = "fair"

    def draw(self, round_number: int, count: int) -> NDArray[np.int64]:
        """Return the (T, D) subnets of a round, of which every earlier round had as many.

        Args:
            round_number: number of the round, from 0.
            count: T.
        """
        if self.kind == "uniform":
            rng = np.random.default_rng((self.seed, STREAM, round_number))
            return rng.integers(0, np.array(self.num_categories), (count, len(self.num_categories)), dtype=np.int64)
        places = round_number * count + np.arange(count)
        columns = [
            [self._fair(position, int(place)) for place in places] for position in range(len(self.num_categories))
        ]
        return np.array(columns, dtype=np.int64).T

    def _fair(self, position: int, place: int) -> int:
        """The block of a position in the subnet at a place in the order of all subnets."""
        lap, turn = divmod(place, self.num_categories[position])
        rng = np.random.default_rng((self.seed, STREAM, position, lap))
        return int(rng.permutation(self.num_categories[position])[turn])
