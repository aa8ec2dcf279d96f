"""The two steps of a round: the gradients of the training subnets and the losses of the evaluated subnets.

Notation: N architectures, D positions, B images.
"""

from contextlib import nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from multinas_ray.errors import ConfigError
from multinas_ray.supernets.supernet import Supernet


def accumulate_gradients(
    supernet: Supernet,
    images: Tensor,
    labels: Tensor,
    architectures: npt.ArrayLike,
    *,
    limit_bytes: int | None = None,
    autocast_dtype: torch.dtype | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Add the gradient of the mean cross-entropy over architectures and images to the parameters' ``grad``.

    This is METHOD step 2 without the optimiser's step. It works group by group if the activations of all
    architectures would not fit; the gradient is the same. Parameters that no architecture uses keep their ``grad``
    (None). A loss that is not finite is returned as it is. The function does not wait for the device.

    Args:
        supernet: the supernet.
        images: (B, channels, height, width), B a multiple of its norm_batch_size.
        labels: (B,) int64 classes.
        architectures: (N, D) indices, N >= 1; one that occurs twice counts twice.
        limit_bytes: bound of the activations alive at once (see `Supernet.groups`); None for no bound.
        autocast_dtype: type of the forward pass under autocast, e.g. torch.bfloat16; None for the weights'.
        label_smoothing: share of the target spread over all classes, in [0, 1).

    Returns:
        The mean training loss, 0-dim, detached, on the images' device.

    Raises:
        ConfigError: There are no architectures, one is not of the space, or the batch is not whole groups.
    """
    rows_ND = supernet.space.search_space.check(architectures)
    if not len(rows_ND):
        raise ConfigError("a training step must have at least one architecture, got none")
    bytes_per_element = (autocast_dtype or images.dtype).itemsize
    groups = supernet.groups(rows_ND, len(images), limit_bytes, bytes_per_element)
    group_losses = []
    for group in groups:
        logits_NBC = _logits(supernet, images, rows_ND[group], autocast_dtype)
        mean_of_group = functional.cross_entropy(
            logits_NBC.flatten(0, 1), labels.repeat(len(group)), label_smoothing=label_smoothing
        )
        loss = mean_of_group * (len(group) / len(rows_ND))
        torch.autograd.backward(loss)
        group_losses.append(loss.detach())
    return torch.stack(group_losses).sum()


@torch.no_grad()
def evaluate(
    supernet: Supernet,
    images: Tensor,
    labels: Tensor,
    architectures: npt.ArrayLike,
    *,
    autocast_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and accuracy of each architecture on the same images (METHOD step 3).

    No groups are needed here, since feature maps are released on the way. A loss that is not finite is returned as it
    is. The function does not wait for the device.

    Args:
        supernet: the supernet.
        images: (B, channels, height, width), B a multiple of its norm_batch_size.
        labels: (B,) int64 classes.
        architectures: (N, D) indices, N >= 1.
        autocast_dtype: type of the forward pass under autocast; None for the weights'.

    Returns:
        Losses (N,) and accuracies in [0, 1] (N,), in the order of the architectures, float32 (float64 for
        float64 weights), on the images' device.

    Raises:
        ConfigError: There are no architectures, one is not of the space, or the batch is not whole groups.
    """
    logits_NBC = _logits(supernet, images, architectures, autocast_dtype)
    num_architectures = len(logits_NBC)
    losses_NB = functional.cross_entropy(
        logits_NBC.flatten(0, 1), labels.repeat(num_architectures), reduction="none"
    ).view(num_architectures, -1)
    accuracies_N = (logits_NBC.argmax(2) == labels).to(losses_NB.dtype).mean(1)
    return losses_NB.mean(1), accuracies_N


def _logits(
    supernet: Supernet, images: Tensor, architectures: npt.ArrayLike, autocast_dtype: torch.dtype | None
) -> Tensor:
    """Logits (N, B, num_classes), at least float32."""
    autocast = torch.autocast(images.device.type, autocast_dtype) if autocast_dtype else nullcontext()
    with autocast:
        logits_NBC: Tensor = supernet(images, np.asarray(architectures))
    return logits_NBC.to(torch.promote_types(logits_NBC.dtype, torch.float32))
