"""Architectures that build the same network, and the canonical one of them.

Notation: N architectures, D positions, C candidate blocks (padded).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multinas_ray.settings import checked, checked_arguments
from multinas_ray.spaces.blocks import Block, BlockDescription, ConvLayer
from multinas_ray.spaces.network import NetworkSpace
from multinas_ray.spaces.search_space import IntArray

BoolArray = npt.NDArray[np.bool_]


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

    Two architectures are equivalent if they differ only in the places of the identities within their runs. The
    canonical one has its identities at the end of each run. Every cost that is a sum over blocks is the same for both.
    Positions with different candidate blocks are never exchanged, even if some of their blocks are the same.
    """

    num_categories: tuple[int, ...]
    """Number of candidate blocks of each position, (D,)."""
    runs: tuple[IdentityRun, ...]
    """Runs that do not overlap, from the first position to the last."""

    @classmethod
    def of(cls, space: NetworkSpace) -> "Equivalence":
        """The equivalence of a network space, with its longest runs of at least two positions."""
        runs, start = [], 0
        for _, group in itertools.groupby(space.positions, key=lambda position: position.blocks):
            positions = list(group)
            stop, blocks = start + len(positions), positions[0].blocks
            identities = [index for index, block in enumerate(blocks) if _is_identity(block)]
            if len(positions) > 1 and identities:
                runs.append(IdentityRun(start, stop, identities[0]))
            start = stop
        return cls(space.search_space.num_categories, tuple(runs))

    @property
    def num_networks(self) -> int:
        """Number of different networks in the space, exact however large."""
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
        return rows_ND


@checked_arguments
def skips(space: NetworkSpace) -> BoolArray:
    """Which candidate blocks leave their position out: the identity, or a 1x1 convolution alone in its place.

    Where the shape changes there can be no identity; a linear 1x1 convolution stands for it there.

    Returns:
        (D, C) bool; False in the places beyond a position's candidates.
    """
    counts = space.search_space.num_categories
    skips_DC: BoolArray = np.zeros((len(counts), max(counts)), dtype=bool)
    for d, position in enumerate(space.positions):
        skips_DC[d, : counts[d]] = [_is_identity(block) or _is_linear_1x1(block) for block in position.blocks]
    return skips_DC


def _is_linear_1x1(block: BlockDescription) -> bool:
    if not isinstance(block, Block) or len(block.layers) != 1:
        return False
    (layer,) = block.layers
    return isinstance(layer, ConvLayer) and layer.kernel_size == 1 and layer.activation is None


def _is_identity(block: BlockDescription) -> bool:
    return isinstance(block, Block) and not block.layers
