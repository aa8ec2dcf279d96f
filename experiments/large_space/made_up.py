"""A made-up evaluator of the mobile space, whose best networks are known exactly. numpy alone."""

# K targets, N architectures, D positions, C blocks (padded), B bins of the cost

import numpy as np

from experiments.large_space.problem import Problem, targets_of
from multinas_ray.spaces import (
    AdditiveCost,
    Equivalence,
    FloatArray,
    IntArray,
    NetworkSpace,
    cifar10_mobile_space,
)

COST_EXPONENT = 0.5
"""A block's gain rises with this power of its FLOPs, so that further FLOPs gain less and less."""
BLOCK_SPREAD = 0.3
"""Standard deviation of the logarithm of a block's gain."""
PAIR_SPREAD = 0.3
"""Standard deviation of what two neighbouring blocks gain together, as a share of their mean gain."""
TOTAL_GAIN = 2.0
"""Expected gain of the network of the largest blocks; a network's loss is exp(-gain)."""
NUM_BINS = 16_384


class MadeUpLosses:
    """Losses exp(-gain); a network's gain is a sum over its blocks and over pairs of neighbouring positions.

    Args:
        space: the space.
        seed: of the gains.
    """

    def __init__(self, space: NetworkSpace, seed: int) -> None:
        rng, flops = np.random.default_rng((seed, 7)), space.costs["flops"].table
        share_DC = flops / flops.max(axis=1).mean()
        block_DC = share_DC**COST_EXPONENT * np.exp(rng.normal(0.0, BLOCK_SPREAD, flops.shape))
        self.block_DC = block_DC * TOTAL_GAIN / len(block_DC)
        mean_DCC = np.sqrt(self.block_DC[:-1, :, None] * self.block_DC[1:, None, :])  # none with a skip
        self.pair_DCC = mean_DCC * rng.normal(0.0, PAIR_SPREAD, mean_DCC.shape)

    def __call__(self, architectures_ND: IntArray) -> FloatArray:
        """(N,) losses of canonical architectures."""
        place_D = np.arange(len(self.block_DC))
        gains_N = self.block_DC[place_D, architectures_ND].sum(axis=1)
        gains_N += self.pair_DCC[place_D[:-1], architectures_ND[:, :-1], architectures_ND[:, 1:]].sum(axis=1)
        losses_N: FloatArray = np.exp(-gains_N)
        return losses_N

    def best_within(self, cost: AdditiveCost, equivalence: Equivalence, targets: tuple[float, ...]) -> FloatArray:
        """(K,) least loss of canonical architectures within each target, by dynamic programming over the positions.

        Costs are rounded down to bins, so that a value is exact or very slightly too good.
        """
        step = (cost.maximum - cost.minimum) / NUM_BINS
        least_D = [cost.table[d, :count].min() for d, count in enumerate(cost.num_categories)]
        most_C: list[FloatArray] = []  # for each last block, the largest gain with exactly so many bins
        for d, count in enumerate(cost.num_categories):
            earlier, most_C = most_C, []
            for choice in range(count):
                gains_B = _start() if d == 0 else self._gains_before(d, choice, earlier, equivalence)
                bins = int((cost.table[d, choice] - least_D[d]) / step)
                gains_B = np.concatenate([np.full(bins, -np.inf), gains_B[: len(gains_B) - bins]])
                most_C.append(gains_B + self.block_DC[d, choice])
        upto_B = np.maximum.accumulate(np.max(most_C, axis=0))
        bins_K = ((np.array(targets) - cost.minimum) / step).astype(np.int64)
        losses_K: FloatArray = np.exp(-upto_B[np.clip(bins_K, 0, NUM_BINS)])
        return losses_K

    def _gains_before(self, d: int, choice: int, earlier: list[FloatArray], equivalence: Equivalence) -> FloatArray:
        """(B,) the largest gain of what comes before a choice at position d, with their pair's."""
        identity = [run.identity for run in equivalence.runs if run.start < d < run.stop]
        allowed = [c for c in range(len(earlier)) if c not in identity or choice in identity]
        gains_B: FloatArray = np.max([earlier[c] + self.pair_DCC[d - 1, c, choice] for c in allowed], axis=0)
        return gains_B


def _start() -> FloatArray:
    gains_B = np.full(NUM_BINS + 1, -np.inf)
    gains_B[0] = 0.0
    return gains_B


def made_up_problem(seed: int) -> Problem:
    """The mobile space at full width with the gains of this seed."""
    space = cifar10_mobile_space()
    losses = MadeUpLosses(space, seed)
    best_K = losses.best_within(space.costs["flops"], space.equivalence, targets_of(space))
    return Problem(space, losses, best_K)
