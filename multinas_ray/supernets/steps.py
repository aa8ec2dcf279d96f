"""The two steps of a round: the gradients of the training subnets and the losses of the evaluated subnets.

Notation: N architectures, D positions, B samples, S sums of the primary metric.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from multinas_ray.data import map_tensors, num_samples, tensors_of
from multinas_ray.errors import ConfigError
from multinas_ray.spaces import IntArray
from multinas_ray.supernets.precision import at_least_float32, autocast_to, whole_float32
from multinas_ray.supernets.supernet import Supernet
from multinas_ray.tasks import Scorer, Task


def accumulate_gradients(
    supernet: Supernet,
    inputs: Any,
    targets: Any,
    architectures: npt.ArrayLike,
    scorer: Scorer | None = None,
    *,
    limit_bytes: int | None = None,
    autocast_dtype: torch.dtype | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Add the gradient of the mean loss over architectures and samples to the parameters' ``grad``.

    This is METHOD step 2 without the optimiser's step. It works group by group if the activations of all
    architectures would not fit; the gradient is the same. Parameters that no architecture uses keep their ``grad``
    (None). A loss that is not finite is returned as it is. The function does not wait for the device.

    Args:
        supernet: the supernet.
        inputs: of B samples, a multiple of its norm_batch_size; images (B, channels, height, width), or others.
        targets: of the samples; classes (B,), or what the task has.
        architectures: (N, D) indices, N >= 1; one that occurs twice counts twice.
        scorer: computes the loss of the task; None: classification.
        limit_bytes: bound of the activations alive at once (see `Supernet.groups`); None for no bound.
        autocast_dtype: type of the forward pass under autocast, e.g. torch.bfloat16; None for the weights'.
        label_smoothing: share of the target spread over all classes, in [0, 1); of classification alone.

    Returns:
        The mean training loss, 0-dim, detached, on the device of the inputs.

    Raises:
        ConfigError: There are no architectures, one is not of the space, the batch is not whole groups, or the loss is
            not one with a gradient.
    """
    rows_ND = _rows(supernet, architectures)
    bytes_per_element = (autocast_dtype or next(supernet.parameters()).dtype).itemsize
    groups = supernet.groups(rows_ND, num_samples(inputs), limit_bytes, bytes_per_element)
    scorer, group_losses = scorer or Scorer(Task()), []
    for group in groups:
        outputs = _outputs(supernet, inputs, rows_ND[group], autocast_dtype)
        mean_of_group = scorer.training_loss(outputs, targets, label_smoothing)
        loss = mean_of_group * (len(group) / len(rows_ND))
        with whole_float32():
            torch.autograd.backward(loss)
        group_losses.append(loss.detach())
    return torch.stack(group_losses).sum()


def accumulate_sandwich_gradients(
    supernet: Supernet,
    inputs: Any,
    targets: Any,
    architectures: npt.ArrayLike,
    scorer: Scorer | None = None,
    *,
    autocast_dtype: torch.dtype | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Add the gradient of the sandwich rule to the parameters' ``grad``.

    The first architecture learns from the targets and each other one from the outputs of the first (Yu and Huang,
    Universally Slimmable Networks, ICCV 2019). They are computed one after the other. The loss of the first and the
    mean distance of the others are added, so that the targets count the same for any number of subnets. [ours]

    Args:
        supernet: the supernet.
        inputs: of B samples, as in `accumulate_gradients`.
        targets: of the samples.
        architectures: (N, D) indices, the largest first.
        scorer: computes loss and distance of the task; None: classification.
        autocast_dtype: type of the forward pass under autocast; None for the weights'.
        label_smoothing: share of the target spread over all classes; of classification alone.

    Returns:
        The loss of the first architecture, 0-dim, detached, on the device of the inputs.

    Raises:
        ConfigError: There are no architectures, one is not of the space, or the batch is not whole groups.
    """
    rows_ND = _rows(supernet, architectures)
    scorer = scorer or Scorer(Task())
    outputs = _outputs(supernet, inputs, rows_ND[:1], autocast_dtype)
    loss = scorer.training_loss(outputs, targets, label_smoothing)
    with whole_float32():
        torch.autograd.backward(loss)
    wanted = map_tensors(Tensor.detach, outputs)
    for row in rows_ND[1:]:
        distance = scorer.distance(_outputs(supernet, inputs, row[None], autocast_dtype), wanted)
        with whole_float32():
            torch.autograd.backward(distance / (len(rows_ND) - 1))
    return loss.detach()


@torch.no_grad()
def evaluate(
    supernet: Supernet,
    inputs: Any,
    targets: Any,
    architectures: npt.ArrayLike,
    scorer: Scorer | None = None,
    *,
    autocast_dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean loss of each architecture on the same samples (METHOD step 3), and the sums of its primary metric.

    No groups are needed here, since feature maps are released on the way. A loss that is not finite is returned as it
    is. The function does not wait for the device.

    Args:
        supernet: the supernet.
        inputs: of B samples, a multiple of its norm_batch_size; images (B, channels, height, width), or others.
        targets: of the samples; classes (B,), or what the task has.
        architectures: (N, D) indices, N >= 1.
        scorer: computes loss and metric of the task; None: classification.
        autocast_dtype: type of the forward pass under autocast; None for the weights'.

    Returns:
        Losses (N,), float32 (float64 for float64 weights), and sums (N, S) for `Scorer.values`, in the order of the
        architectures, on the device of the inputs.

    Raises:
        ConfigError: There are no architectures, one is not of the space, or the batch is not whole groups.
    """
    scorer = scorer or Scorer(Task())
    outputs = _outputs(supernet, inputs, architectures, autocast_dtype)
    return scorer.losses(outputs, targets).mean(1), scorer.sums(outputs, targets, scorer.primary)


def _rows(supernet: Supernet, architectures: npt.ArrayLike) -> IntArray:
    rows_ND = supernet.space.search_space.check(architectures)
    if not len(rows_ND):
        raise ConfigError("a training step must have at least one architecture, got none")
    return rows_ND


def _outputs(supernet: Supernet, inputs: Any, architectures: npt.ArrayLike, autocast_dtype: torch.dtype | None) -> Any:
    """Outputs (N, B, ...), at least float32."""
    device = tensors_of(inputs)[0].device
    with autocast_to(autocast_dtype, device):
        outputs = supernet(inputs, np.asarray(architectures))
    return map_tensors(at_least_float32, outputs)
