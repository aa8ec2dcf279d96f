"""What is searched: a space, K targets in FLOPs, and a fixed evaluator."""

# K targets, N architectures, D positions, C blocks

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from multinas_ray.selection import PriorPart, make_parts
from multinas_ray.spaces import AdditiveCost, Equivalence, FloatArray, IntArray, NetworkSpace

LossesOf = Callable[[IntArray], FloatArray]
"""(N, D) canonical architectures to (N,) losses, minimised; always the same for the same architecture."""

TARGET_QUANTILES = (0.02, 0.2, 0.5, 0.85)
"""The K targets are these quantiles of the FLOPs of uniformly drawn networks."""
TARGET_DRAWS = 100_000


@dataclass(frozen=True, eq=False)
class Problem:
    """One search problem. Equal networks have equal losses, since the evaluator sees canonical architectures only."""

    space: NetworkSpace
    """What can be chosen."""
    losses_of: LossesOf
    """The fixed evaluator."""
    best_losses: FloatArray | None = None
    """(K,) least loss within each target, where it is known."""
    prior: Sequence[str] = ("early_depth",)
    """What the methods with a prior are given, by the names of its parts. What it costs is free for all of them."""

    @cached_property
    def cost(self) -> AdditiveCost:
        """FLOPs."""
        return self.space.costs["flops"]

    @cached_property
    def equivalence(self) -> Equivalence:
        """Which architectures are the same network."""
        return self.space.equivalence

    @cached_property
    def prior_parts(self) -> list[PriorPart]:
        """The parts of the prior."""
        return make_parts(self.prior, self.space)

    @cached_property
    def targets(self) -> tuple[float, ...]:
        """(K,) largest FLOPs of the K networks, rising."""
        return targets_of(self.space)


def targets_of(space: NetworkSpace) -> tuple[float, ...]:
    """(K,) the TARGET_QUANTILES of the FLOPs of uniformly drawn architectures, rising."""
    rows_ND = space.search_space.random(TARGET_DRAWS, np.random.default_rng(0))
    return tuple(np.quantile(space.costs["flops"](rows_ND), TARGET_QUANTILES).tolist())
