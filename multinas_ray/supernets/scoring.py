"""Subnets on images: their normalisation statistics, their losses and hits.

Notation: N architectures, B images.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from multinas_ray.errors import ConfigError


def recalibrate_batch_norm(subnet: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics to the exact average over the batches, and the subnet to eval mode.

    Every batch has the same weight, so give batches of one size (as large as those of training). The mean and the
    unbiased variance of each batch are averaged.

    Args:
        subnet: a network, or several as one module, changed in place.
        batches: images (B, channels, height, width), moved to the subnet's device.

    Raises:
        ConfigError: There is batch normalisation and no batch for it.
    """
    if any(isinstance(module, _BatchNorm) for module in subnet.modules()):
        counter = _Counter(batches)
        update_bn(counter, subnet, next(subnet.parameters()).device)
        if not counter.count:
            raise ConfigError("batch normalisation must be recalibrated with at least one batch, got none")
    subnet.eval()


@torch.no_grad()
def summed_score(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum of cross-entropies and number of correct predictions over batches, without a host sync.

    Args:
        network: from images to logits, in eval mode.
        batches: images (B, channels, height, width) and labels (B,), on the network's device.

    Returns:
        (2,) float32 on that device; divided by the number of images: loss (minimised) and accuracy.
    """
    sums = torch.zeros(2, device=next(network.parameters()).device)
    for images, labels in batches:
        logits = network(images)
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        sums += torch.stack([loss, (logits.argmax(1) == labels).sum()])
    return sums


@torch.no_grad()
def image_scores(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Cross-entropy of every image, and whether its prediction is correct, with one host sync at the end.

    Args:
        network: from images to logits, in eval mode.
        batches: images (B, channels, height, width) and labels (B,), on the network's device; at least one.

    Returns:
        (N,) losses, minimised, and (N,) 1.0 for a correct prediction, 0.0 for a wrong one, in the order of the batches.
    """
    losses, hits = [], []
    for images, labels in batches:
        logits = network(images)
        losses.append(functional.cross_entropy(logits, labels, reduction="none"))
        hits.append(logits.argmax(1) == labels)
    return torch.cat(losses).double().cpu().numpy(), torch.cat(hits).double().cpu().numpy()


@torch.no_grad()
def image_scores_together(
    subnets: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Cross-entropy of every image for each network, and whether its prediction is correct, with one host sync.

    Args:
        subnets: from images to logits (N, B, num_classes), in eval mode.
        batches: images (B, channels, height, width) and labels (B,), on the networks' device; at least one.

    Returns:
        (N, images) losses, minimised, and (N, images) 1.0 for a correct prediction, 0.0 for a wrong one, in the order
        of the batches; each row is what `image_scores` gives the network alone.
    """
    losses, hits = [], []
    for images, labels in batches:
        logits_NBC = subnets(images)
        losses.append(torch.stack([functional.cross_entropy(each, labels, reduction="none") for each in logits_NBC]))
        hits.append(logits_NBC.argmax(2) == labels)
    return torch.cat(losses, dim=1).double().cpu().numpy(), torch.cat(hits, dim=1).double().cpu().numpy()


class _Counter:
    """Passes batches on and counts them."""

    def __init__(self, batches: Iterable[Tensor]) -> None:
        self.count = 0
        self._batches = batches

    def __iter__(self) -> Iterator[Tensor]:
        for batch in self._batches:
            self.count += 1
            yield batch
