"""The supernet of a space that is described block by block: every network is a path through it.

Notation: N architectures, D positions, B images.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import IntArray, NetworkSpace
from multinas_ray.supernets.block_subnets import BlockSubnets, extract_path
from multinas_ray.supernets.blocks import build_block
from multinas_ray.supernets.grouping import group_by_memory
from multinas_ray.supernets.norm import GhostBatchNorm2d
from multinas_ray.supernets.prefixes import Prefix, logits_by_prefix
from multinas_ray.supernets.sharing import build_candidates, masks_of_used, parameters_used
from multinas_ray.supernets.supernet import Seed, Supernet


class BlockSupernet(Supernet):
    """Stem, D x C_d candidate blocks and head; an architecture is one path through them.

    A block has one set of weights, whatever comes before and after it (Guo et al., Single Path One-Shot, ECCV
    2020); blocks of a position may share theirs, see `spaces.PartialBlock`. Equal beginnings are computed once, see
    `logits_by_prefix`.

    Args:
        space: the candidate blocks.
        norm_batch_size: images that are normalised together; every batch is a multiple of it.
        seed: seed of the initial weights.
    """

    space: NetworkSpace

    @checked_arguments
    def __init__(self, space: NetworkSpace, norm_batch_size: int, seed: Seed) -> None:
        super().__init__(space, norm_batch_size)
        norm = partial(GhostBatchNorm2d, group_size=norm_batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.stem = build_block(space.stem, norm)
            self.positions = nn.ModuleList(
                nn.ModuleList(build_candidates(position.blocks, norm)) for position in space.positions
            )
            self.head = build_block(space.head, norm)
        self._used: dict[nn.Module, list[nn.Parameter]] = {}

    def block(self, position: int, index: int) -> nn.Module:
        """The candidate block with this index at a position."""
        blocks = self.positions[position]
        assert isinstance(blocks, nn.ModuleList)
        return blocks[index]

    def module_of(self, depth: int, prefix: Prefix) -> nn.Module:
        """The module at a depth of the prefix tree, see `prefixes.ModuleOf`."""
        if depth == 0:
            return self.stem
        return self.block(depth - 1, prefix[-1]) if depth <= len(self.positions) else self.head

    def forward(self, images: Tensor, architectures: npt.ArrayLike) -> Tensor:
        """Logits of all architectures for the same images, (N, B, num_classes)."""
        return torch.stack(logits_by_prefix(self.module_of, images, self.rows(architectures)))

    def groups(
        self, architectures: npt.ArrayLike, batch_size: int, limit_bytes: int | None, bytes_per_element: int
    ) -> list[IntArray]:
        """Groups of neighbours, which share their beginnings, see `group_by_memory`."""
        return group_by_memory(architectures, self.space, batch_size, limit_bytes, bytes_per_element)

    def touched_parameters(self, architectures: npt.ArrayLike) -> list[nn.Parameter]:
        """Those of stem, head, then the chosen blocks by position and index."""
        modules = self._touched_modules(architectures)
        for module in modules:
            if module not in self._used:  # walking through modules takes 2 ms a round on the space for ImageNet
                self._used[module] = parameters_used(module)
        return list(dict.fromkeys(parameter for module in modules for parameter in self._used[module]))

    def masks_of_used(self, architectures: npt.ArrayLike) -> dict[nn.Parameter, Tensor]:
        """Which entries of weights that blocks share are used."""
        return masks_of_used(self._touched_modules(architectures))

    def extract(self, architecture: Sequence[int] | IntArray) -> nn.Sequential:
        """Build ``Sequential(stem, blocks, head)`` with copies of the weights on a path."""
        (row,) = self.rows(np.asarray(architecture)[None])
        return extract_path(self.space, row, self.module_of)

    def together(self, architectures: npt.ArrayLike) -> BlockSubnets:
        """Several subnets whose equal beginnings are computed once."""
        return BlockSubnets(self.space, self.rows(architectures), self.module_of)

    def _touched_modules(self, architectures: npt.ArrayLike) -> list[nn.Module]:
        rows_ND = self.space.search_space.check(architectures)
        modules = [self.stem, self.head]
        for position in range(rows_ND.shape[1]):
            for index in sorted(set(rows_ND[:, position].tolist())):
                modules.append(self.block(position, index))
        return modules
