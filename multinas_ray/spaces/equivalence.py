"""Architectures that build the same network, and the canonical one of them.

Notation: N architectures, D positions, C candidate blocks (padded).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multinas_ray.settings import checked
from multinas_ray.spaces.search_space import IntArray

Way = tuple[tuple[int, tuple[int, ...]], ...]
"""Variables around a variable, and of each the choices that lead to it; all of them must be met."""


@dataclass(frozen=True)
class IdentityRun:
    """Consecutive positions with the same candidate blocks, one of which is the identity.

    The network is the sequence of the blocks that are not identities, so it does not matter which of these
    positions have the identities.
    """

    start: int
    """The first position."""
    stop: int
    """The position after the last."""
    identity: int
    """Index of the identity among the blocks."""


@checked
@dataclass(frozen=True)
class Equivalence:
    """Decides which architectures of a space build the same network.

    Two architectures are equivalent if they differ only in the places of the identities within their runs, or in
    variables that their networks do not use. The canonical one has its identities at the end of each run, and the first
    choice of each variable that is not used. Positions with different candidate blocks are never exchanged, even if
    some of their blocks are the same.
    """

    num_categories: tuple[int, ...]
    """Number of candidate blocks of each position, (D,)."""
    runs: tuple[IdentityRun, ...] = ()
    """Runs that do not overlap, from the first position to the last."""
    ways: tuple[tuple[Way, ...], ...] = ()
    """For each variable the ways to it, one of which must be open. Empty: all are used always; there may be runs."""

    @property
    def num_networks(self) -> int:
        """Number of different networks, exact however large, where all variables are always used."""
        covered = {position for run in self.runs for position in range(run.start, run.stop)}
        free = math.prod(count for position, count in enumerate(self.num_categories) if position not in covered)
        return free * math.prod(self._networks_of(run) for run in self.runs)

    def _networks_of(self, run: IdentityRun) -> int:
        """Number of sequences of at most as many blocks as the run has positions."""
        num_blocks, longest = self.num_categories[run.start] - 1, run.stop - run.start
        return sum(int(num_blocks**length) for length in range(longest + 1))

    def canonical(self, architectures: npt.ArrayLike) -> IntArray:
        """The canonical encoding of each of (N, D) architectures, as a new array."""
        rows_ND: IntArray = np.array(architectures, dtype=np.int64)
        for run in self.runs:
            part = rows_ND[:, run.start : run.stop]
            order = np.argsort(part == run.identity, axis=1, kind="stable")
            rows_ND[:, run.start : run.stop] = np.take_along_axis(part, order, axis=1)
        unused = [(d, self._unused(rows_ND, ways)) for d, ways in enumerate(self.ways)]
        for d, unused_N in unused:
            rows_ND[unused_N, d] = 0
        return rows_ND

    def used(self, architecture: Sequence[int] | IntArray) -> list[bool]:
        """Whether the network of an architecture uses each variable, (D,)."""
        row_ND = np.asarray(architecture, dtype=np.int64)[None]
        ways = self.ways or [()] * row_ND.shape[1]
        return [not each or not bool(self._unused(row_ND, each)[0]) for each in ways]

    @staticmethod
    def _unused(rows_ND: IntArray, ways: Sequence[Way]) -> npt.NDArray[np.bool_]:
        """(N,) whether no way to a variable is open."""
        used_N = np.zeros(len(rows_ND), dtype=bool)
        for way in ways:
            is_open_N = np.ones(len(rows_ND), dtype=bool)
            for d, choices in way:
                is_open_N &= np.isin(rows_ND[:, d], choices)
            used_N |= is_open_N
        return ~used_N
