"""The single-path supernet: every architecture of a network space, with shared weights.

Notation: N architectures, D positions, B images.
"""

from functools import partial
from typing import Annotated

import numpy.typing as npt
import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.optim import Optimizer

from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import NetworkSpace
from multinas_ray.supernets.blocks import build_block
from multinas_ray.supernets.norm import GhostBatchNorm2d
from multinas_ray.supernets.prefixes import Prefix, logits_by_prefix
from multinas_ray.supernets.sharing import build_candidates, masks_of_used, parameters_used

Seed = Annotated[int, Ge(0), Lt(2**63)]
"""Seed of torch's generator."""


class Supernet(nn.Module):
    """Stem, D x C_d candidate blocks and head; an architecture is one path through them.

    A block has one set of weights, whatever comes before and after it (Guo et al., Single Path One-Shot, ECCV
    2020); blocks of a position may share theirs, see `spaces.PartialBlock`. Equal arguments give equal weights if
    the supernet is made on the CPU and then moved. The global random generator is unchanged. Eval mode makes no
    difference, since normalisation uses the batch in both modes.

    Args:
        network_space: the candidate blocks.
        norm_batch_size: images that are normalised together; every batch is a multiple of it.
        seed: seed of the initial weights.
    """

    @checked_arguments
    def __init__(self, network_space: NetworkSpace, norm_batch_size: int, seed: Seed) -> None:
        super().__init__()
        self.network_space = network_space
        self.norm_batch_size = norm_batch_size
        norm = partial(GhostBatchNorm2d, group_size=norm_batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.stem = build_block(network_space.stem, norm)
            self.positions = nn.ModuleList(
                nn.ModuleList(build_candidates(position.blocks, norm)) for position in network_space.positions
            )
            self.head = build_block(network_space.head, norm)

    def block(self, position: int, index: int) -> nn.Module:
        """The candidate block with this index at a position."""
        blocks = self.positions[position]
        assert isinstance(blocks, nn.ModuleList)
        return blocks[index]

    def forward(self, images: Tensor, architectures: npt.ArrayLike) -> Tensor:
        """Logits of all architectures for the same images.

        Equal beginnings are computed once, see `logits_by_prefix`.

        Args:
            images: (B, channels, height, width).
            architectures: (N, D) indices, N >= 1.

        Returns:
            (N, B, num_classes), in the order of the architectures.

        Raises:
            ConfigError: There are no architectures or one is not of this space.
        """
        return torch.stack(logits_by_prefix(self.module_of, images, self.prefixes(architectures)))

    def prefixes(self, architectures: npt.ArrayLike) -> list[Prefix]:
        """The architectures as rows of a prefix tree.

        Raises:
            ConfigError: There are no architectures or one is not of this space.
        """
        rows: list[list[int]] = self.network_space.search_space.check(architectures).tolist()
        if not rows:
            raise ConfigError("a supernet must get at least one architecture, got none")
        return [tuple(row) for row in rows]

    def module_of(self, depth: int, prefix: Prefix) -> nn.Module:
        """The module at a depth of the prefix tree, see `prefixes.ModuleOf`."""
        if depth == 0:
            return self.stem
        return self.block(depth - 1, prefix[-1]) if depth <= len(self.positions) else self.head


def touched_parameters(supernet: Supernet, architectures: npt.ArrayLike) -> list[nn.Parameter]:
    """Parameters that have a gradient after a step on the architectures, each once.

    Their order depends only on the set of architectures: stem, head, then the chosen blocks by position and
    index. So it is the same in every process, as an all-reduce requires.

    Args:
        supernet: the supernet.
        architectures: (N, D) indices.

    Raises:
        ConfigError: An architecture is not of the supernet's space.
    """
    used = (parameter for module in _touched_modules(supernet, architectures) for parameter in parameters_used(module))
    return list(dict.fromkeys(used))


@torch.no_grad()
def step_touched(optimizer: Optimizer, supernet: Supernet, architectures: npt.ArrayLike) -> None:
    """Step the optimiser on a supernet after the gradients of the architectures, and on nothing that they do not use.

    Parameters without a gradient are not stepped. If blocks share weights, a parameter may be used in part; the rest of
    it has a gradient of 0 and would move by momentum and weight decay. It stays as it is, with the optimiser's state.
    The function does not wait for the device.

    Args:
        optimizer: an optimiser of the supernet's parameters, whose state of a parameter starts at 0.
        supernet: the supernet.
        architectures: (N, D) indices.

    Raises:
        ConfigError: An architecture is not of the supernet's space.
    """
    masks = masks_of_used(_touched_modules(supernet, architectures))
    before = {each: each.clone() for each in masks}
    state_before = {each: _state_like(optimizer, each, clone=True) for each in masks}
    optimizer.step()
    for parameter, mask in masks.items():
        parameter.copy_(torch.where(mask, parameter, before[parameter]))
        for name, state in _state_like(optimizer, parameter).items():
            state.copy_(torch.where(mask, state, state_before[parameter].get(name, torch.zeros_like(state))))


def _state_like(optimizer: Optimizer, parameter: nn.Parameter, *, clone: bool = False) -> dict[str, Tensor]:
    """The optimiser's state that has an entry for each entry of the parameter."""
    state = optimizer.state.get(parameter, {})
    tensors = {name: each for name, each in state.items() if torch.is_tensor(each) and each.shape == parameter.shape}
    return {name: each.clone() for name, each in tensors.items()} if clone else tensors


def _touched_modules(supernet: Supernet, architectures: npt.ArrayLike) -> list[nn.Module]:
    rows_ND = supernet.network_space.search_space.check(architectures)
    modules = [supernet.stem, supernet.head]
    for position in range(rows_ND.shape[1]):
        for index in sorted(set(rows_ND[:, position].tolist())):
            modules.append(supernet.block(position, index))
    return modules
