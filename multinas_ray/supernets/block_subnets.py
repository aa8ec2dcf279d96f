"""Networks of a space that is described block by block: freshly initialised, or with the supernet's weights."""

import itertools
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import BlockDescription, NetworkSpace
from multinas_ray.supernets.blocks import build_block
from multinas_ray.supernets.prefixes import ModuleOf, Prefix, logits_by_prefix
from multinas_ray.supernets.sharing import state_alone

_RUNNING_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def build_path(space: NetworkSpace, row: Prefix) -> nn.Sequential:
    """Build a network, freshly initialised from torch's global generator.

    Returns:
        ``Sequential(stem, blocks, head)`` in training mode, where `blocks` is a Sequential of D blocks.
    """
    stem, *blocks, head = _blocks_of(space, row)
    modules: dict[str, nn.Module] = {
        "stem": build_block(stem, nn.BatchNorm2d),
        "blocks": nn.Sequential(*(build_block(block, nn.BatchNorm2d) for block in blocks)),
        "head": build_block(head, nn.BatchNorm2d),
    }
    return nn.Sequential(OrderedDict(modules))


def extract_path(space: NetworkSpace, row: Prefix, module_of: ModuleOf) -> nn.Sequential:
    """Build a network with copies of a supernet's weights, as that of `build_path`.

    Args:
        space: the space.
        row: (D,) indices.
        module_of: the modules of the supernet.

    Raises:
        ConfigError: A block's module depends on its normalisation.
    """
    with torch.random.fork_rng(devices=[]):
        subnet = build_path(space, row)
    names = ["stem", *(f"blocks.{d}" for d in range(len(row))), "head"]
    weights = {
        f"{name}.{key}": value
        for depth, name in enumerate(names)
        for key, value in state_alone(module_of(depth, row[:depth])).items()
    }
    example = next(iter(weights.values()))
    subnet.to(device=example.device, dtype=example.dtype)
    _check_weights(*subnet.load_state_dict(weights, strict=False))
    return subnet


class BlockSubnets(nn.Module):
    """Subnets with the supernet's weights; equal beginnings are computed once.

    The statistics of a block depend on the blocks before it and on nothing else, so equal beginnings have equal
    statistics. Statistics and outputs of each network are those that it has alone. The weights are the supernet's own
    and not copies.

    Args:
        space: the space.
        rows: N architectures.
        module_of: the modules of the supernet.

    Raises:
        ConfigError: A block's module depends on its normalisation.
    """

    def __init__(self, space: NetworkSpace, rows: Sequence[Prefix], module_of: ModuleOf) -> None:
        super().__init__()
        self._rows = rows
        self.nodes = nn.ModuleDict()
        for row in rows:
            for depth, description in enumerate(_blocks_of(space, row)):
                name = _name(depth, row[:depth])
                if name not in self.nodes:
                    self.nodes[name] = _block_alone(description, module_of(depth, row[:depth]))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of all networks, (N, B, num_classes), for images (B, channels, height, width)."""
        return torch.stack(logits_by_prefix(lambda *node: self.nodes[_name(*node)], images, self._rows))


def _name(depth: int, prefix: Prefix) -> str:
    return "-".join(map(str, (depth, *prefix)))


def _blocks_of(space: NetworkSpace, row: Prefix) -> list[BlockDescription]:
    """Stem, chosen blocks and head."""
    chosen = (position.blocks[index] for position, index in zip(space.positions, row, strict=True))
    return [space.stem, *chosen, space.head]


def _block_alone(description: object, shared: nn.Module) -> nn.Module:
    """Build a block with ordinary batch normalisation and the weights of a supernet's block, which are not copied.

    Args:
        description: of the block.
        shared: its module in the supernet.

    Raises:
        ConfigError: The block's module depends on its normalisation.
    """
    with torch.random.fork_rng(devices=[]):
        block = build_block(description, nn.BatchNorm2d)
    weights = state_alone(shared)
    for example in itertools.islice(weights.values(), 1):
        block.to(device=example.device, dtype=example.dtype)
    _check_weights(*block.load_state_dict(weights, strict=False, assign=True))
    return block


def _check_weights(missing: Sequence[str], unexpected: Sequence[str]) -> None:
    lost = [key for key in missing if not key.endswith(_RUNNING_STATISTICS)] + list(unexpected)
    if lost:
        raise ConfigError(
            f"a block must have the same weights for every normalisation, these differ: {lost}; "
            "make its builder use the given norm and nothing else that depends on it"
        )
