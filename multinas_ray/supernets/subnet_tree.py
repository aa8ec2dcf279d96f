"""Several subnets of a supernet, each with batch-normalisation statistics of its own, computed together.

Notation: N architectures, D positions, B images.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from multinas_ray.supernets.prefixes import Prefix, logits_by_prefix
from multinas_ray.supernets.subnet import block_alone
from multinas_ray.supernets.supernet import Supernet


class SubnetTree(nn.Module):
    """Subnets with the supernet's weights; equal beginnings are computed once.

    The statistics of a block depend on the blocks before it and on nothing else, so equal beginnings have equal
    statistics. Statistics and outputs of each network are those that `extract_subnet` and `recalibrate_batch_norm`
    give it alone. The weights are the supernet's own and not copies. Like a network of `extract_subnet` it must be
    given to `recalibrate_batch_norm` before it is used.

    Args:
        supernet: the supernet.
        architectures: (N, D) indices, N >= 1.

    Raises:
        ConfigError: There are no architectures, one is not of the space, or a block's module depends on its
            normalisation.
    """

    def __init__(self, supernet: Supernet, architectures: npt.ArrayLike) -> None:
        super().__init__()
        self._rows = supernet.prefixes(architectures)
        space = supernet.network_space
        self.nodes = nn.ModuleDict()
        for row in self._rows:
            blocks = [position.blocks[index] for position, index in zip(space.positions, row, strict=True)]
            for depth, description in enumerate([space.stem, *blocks, space.head]):
                name = _name(depth, row[:depth])
                if name not in self.nodes:
                    self.nodes[name] = block_alone(description, supernet.module_of(depth, row[:depth]))

    def forward(self, images: Tensor) -> Tensor:
        """Logits of all networks, (N, B, num_classes), for images (B, channels, height, width)."""
        return torch.stack(logits_by_prefix(lambda *node: self.nodes[_name(*node)], images, self._rows))


def _name(depth: int, prefix: Prefix) -> str:
    return "-".join(map(str, (depth, *prefix)))


@torch.no_grad()
def image_scores_together(
    tree: SubnetTree, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Cross-entropy of every image for each network, and whether its prediction is correct, with one host sync.

    Args:
        tree: the networks, in eval mode.
        batches: images (B, channels, height, width) and labels (B,), on the networks' device; at least one.

    Returns:
        (N, images) losses, minimised, and (N, images) 1.0 for a correct prediction, 0.0 for a wrong one, in the order
        of the batches; each row is what `image_scores` gives the network alone.
    """
    losses, hits = [], []
    for images, labels in batches:
        logits_NBC = tree(images)
        losses.append(torch.stack([functional.cross_entropy(each, labels, reduction="none") for each in logits_NBC]))
        hits.append(logits_NBC.argmax(2) == labels)
    return torch.cat(losses, dim=1).double().cpu().numpy(), torch.cat(hits, dim=1).double().cpu().numpy()
