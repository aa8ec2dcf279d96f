"""Exact draws from the networks whose cost lies in an interval, in spaces of any size.

Notation: N architectures, D positions, C choices (padded), B bins of the cost, F = 2 states of a run of positions.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Le

from multinas_ray.errors import ConfigError
from multinas_ray.settings import InfinityAllowed, checked_arguments
from multinas_ray.spaces.costs import AdditiveCost, FloatArray
from multinas_ray.spaces.equivalence import Equivalence
from multinas_ray.spaces.search_space import IntArray

NUM_BINS = 4096
"""Bins into which the range of a cost is divided for counting. More bins reject fewer draws but take more memory."""
MOST_BINS = 2**20
MOST_BATCHES = 200
"""After this many batches of draws, a slice is considered empty, or without further networks."""


class CostSlice:
    """The networks of a space whose additive cost lies in an interval.

    Networks are counted by dynamic programming over the positions, with costs rounded down to bins, and drawn backwards
    from the counts, so that a space of 1e17 architectures takes milliseconds. The bins cover a little more than the
    interval; draws outside it are rejected. Only canonical architectures are counted. Therefore every network of the
    interval is equally likely (up to the rounding of float64), whatever the number of its encodings. With `probs`,
    architectures are weighted by their probability instead: the draws are those of independent choices, given that the
    cost lies in the interval.

    Args:
        cost: the cost, in its own unit.
        low: networks cost more than this; -inf for no bound.
        high: networks cost at most this.
        equivalence: which architectures are the same network; None: all differ.
        probs: (D, C) weights of the choices; None: all have the same weight.
        num_bins: see NUM_BINS.

    Raises:
        ConfigError: The interval is empty, `num_bins` is below 1, or `probs` has another shape.
    """

    @checked_arguments
    def __init__(
        self,
        cost: AdditiveCost,
        low: Annotated[float, InfinityAllowed()],
        high: Annotated[float, InfinityAllowed()],
        *,
        equivalence: Equivalence | None = None,
        probs: FloatArray | None = None,
        num_bins: Annotated[int, Ge(1), Le(MOST_BINS)] = NUM_BINS,
    ) -> None:
        if not low < high:
            raise ConfigError(f"a slice of the cost {cost.name!r} must have low < high, got {low:.10g} and {high:.10g}")
        if num_bins < 1:
            raise ConfigError(f"num_bins must be at least 1, got {num_bins}")
        if probs is not None and probs.shape != cost.table.shape:
            raise ConfigError(f"probs must have the shape of the cost's table, {cost.table.shape}, got {probs.shape}")
        self._cost, self._low, self._high = cost, low, high
        self._num_categories = cost.num_categories
        self._probs_DC = np.ones(cost.table.shape) if probs is None else probs
        self._identity_of, self._starts_run = _run_states(cost.num_categories, equivalence)
        least_D = [cost.table[d, :count].min() for d, count in enumerate(cost.num_categories)]
        self._step = (cost.maximum - cost.minimum) / num_bins or 1.0
        self._bins_DC = [
            np.floor((cost.table[d, :count] - least_D[d]) / self._step).astype(np.int64)
            for d, count in enumerate(cost.num_categories)
        ]
        self._counts_DFB = self._count()
        self._share_B = self._shares_of_bins()

    @property
    def is_empty(self) -> bool:
        """Whether no network can lie in the interval. If False, a narrow interval may still have no network."""
        return not self._share_B.any()

    def draw(self, number: int, rng: np.random.Generator) -> IntArray:
        """Networks of the slice, drawn with replacement.

        Args:
            number: number of networks.
            rng: generator of the draws.

        Returns:
            (N, D) architectures, canonical where there is an equivalence; fewer than `number`, down to none, only if
            the slice seems to be empty.
        """
        rows = [np.zeros((0, len(self._num_categories)), dtype=np.int64)]
        for _ in range(MOST_BATCHES if not self.is_empty else 0):
            if sum(map(len, rows)) >= number:
                break
            rows.append(self._draw_near(number, rng))
        return np.concatenate(rows)[:number]

    def draw_distinct(self, number: int, rng: np.random.Generator) -> IntArray:
        """Different networks of the slice; without `probs` each set of them is equally likely.

        Args:
            number: number of networks.
            rng: generator of the draws.

        Returns:
            (N, D) canonical architectures in the order drawn; fewer than `number` if the slice has no more.
        """
        found: dict[tuple[int, ...], None] = {}
        for _ in range(MOST_BATCHES if not self.is_empty else 0):
            before = len(found)
            found.update(dict.fromkeys(map(tuple, self._draw_near(max(4 * number, 256), rng).tolist())))
            if len(found) >= number or (before and len(found) == before):
                break
        rows = np.array(list(found), dtype=np.int64).reshape(len(found), len(self._num_categories))
        return rows[:number]

    def _draw_near(self, number: int, rng: np.random.Generator) -> IntArray:
        """One batch of draws from the bins, without those outside the interval."""
        remaining_N = rng.choice(len(self._share_B), size=number, p=self._share_B)
        flag_N = np.zeros(number, dtype=np.int64)
        rows_ND = np.empty((number, len(self._num_categories)), dtype=np.int64)
        for d in range(len(self._num_categories)):
            weights_NC = self._weights(d, remaining_N, flag_N)
            upto_NC = np.cumsum(weights_NC, axis=1)
            chosen_N = (upto_NC <= rng.random((number, 1)) * upto_NC[:, -1:]).sum(axis=1)
            rows_ND[:, d] = chosen_N
            remaining_N = remaining_N - self._bins_DC[d][chosen_N]
            flag_N = self._next_flag(d, flag_N, chosen_N)
        costs_N = self._cost(rows_ND)
        return rows_ND[(costs_N > self._low) & (costs_N <= self._high)]

    def _weights(self, d: int, remaining_N: IntArray, flag_N: IntArray) -> FloatArray:
        """(N, C) numbers of ways to complete a network after each choice at position d, up to a common factor."""
        later_FB, columns = self._counts_DFB[d + 1], []
        for choice, bins in enumerate(self._bins_DC[d]):
            left_N = remaining_N - bins
            next_N = self._next_flag(d, flag_N, np.full(len(flag_N), choice))
            ways_N = np.where(left_N >= 0, later_FB[next_N, np.maximum(left_N, 0)], 0.0) * self._probs_DC[d, choice]
            columns.append(np.where(self._allows(d, flag_N, choice), ways_N, 0.0))
        return np.stack(columns, axis=1)

    def _allows(self, d: int, flag_N: IntArray, choice: int) -> npt.NDArray[np.bool_]:
        """Whether a choice keeps an architecture canonical: after an identity, only identities follow in a run."""
        after_identity_N = (flag_N == 1) & (not self._starts_run[d])
        allowed_N: npt.NDArray[np.bool_] = ~after_identity_N | (choice == self._identity_of[d])
        return allowed_N

    def _next_flag(self, d: int, flag_N: IntArray, chosen_N: IntArray) -> IntArray:
        """1 within a run after one of its identities, otherwise 0."""
        return np.asarray(chosen_N == self._identity_of[d], dtype=np.int64)

    def _count(self) -> FloatArray:
        """(D + 1, F, B) ways to complete a network from each position and state with exactly that many bins.

        The counts of each position are divided by their largest, since only ratios within a position are used.
        """
        num_bins = 1 + sum(int(bins.max()) for bins in self._bins_DC)
        counts_DFB = np.zeros((len(self._num_categories) + 1, 2, num_bins))
        counts_DFB[-1, :, 0] = 1.0
        for d in reversed(range(len(self._num_categories))):
            for flag, (choice, bins) in ((flag, item) for flag in (0, 1) for item in enumerate(self._bins_DC[d])):
                flag_1 = np.array([flag])
                if self._allows(d, flag_1, choice)[0]:
                    following = self._next_flag(d, flag_1, np.array([choice]))[0]
                    ways_B = counts_DFB[d + 1, following, : num_bins - bins]
                    counts_DFB[d, flag, bins:] += self._probs_DC[d, choice] * ways_B
            counts_DFB[d] /= counts_DFB[d].max()
        return counts_DFB

    def _shares_of_bins(self) -> FloatArray:
        """(B,) share of each bin in the draws: bins of the interval, and those next to it because of rounding."""
        counts_B = self._counts_DFB[0, 0]
        lowest_B = self._cost.minimum + self._step * np.arange(len(counts_B))
        slack = self._step * len(self._num_categories)
        inside_B = (lowest_B <= self._high) & (lowest_B + slack > self._low)
        shares_B: FloatArray = np.where(inside_B, counts_B, 0.0)
        return shares_B / (shares_B.sum() or 1.0)


def _run_states(num_categories: Sequence[int], equivalence: Equivalence | None) -> tuple[list[int], list[bool]]:
    """For each position the identity of its run (-1 if it is in no run), and whether an earlier state ends there."""
    identity_of, starts_run = [-1] * len(num_categories), [True] * len(num_categories)
    for run in () if equivalence is None else equivalence.runs:
        identity_of[run.start : run.stop] = [run.identity] * (run.stop - run.start)
        starts_run[run.start + 1 : run.stop] = [False] * (run.stop - run.start - 1)
    return identity_of, starts_run
