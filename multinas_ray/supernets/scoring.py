"""Subnets on samples: their normalisation statistics, their losses and metrics.

Notation: N networks, B samples of a batch, S sums of all metrics.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from multinas_ray.data import call, map_tensors, tensors_of
from multinas_ray.errors import ConfigError
from multinas_ray.supernets.precision import at_least_float32, autocast_to, whole_float32
from multinas_ray.supernets.separate import Separate
from multinas_ray.tasks import MeanScore, Scorer


def recalibrate_batch_norm(
    subnet: nn.Module, batches: Iterable[Any], *, autocast_dtype: torch.dtype | None = None
) -> None:
    """Set the running statistics to the exact average over the batches, and the subnet to eval mode.

    Every batch has the same weight, so give batches of one size (as large as those of training). The mean and the
    unbiased variance of each batch are averaged. Networks without batch normalisation need no batch.

    Args:
        subnet: a network, or several as one module, changed in place.
        batches: inputs of samples, such as images (B, channels, height, width), moved to the subnet's device.
        autocast_dtype: type of the forward pass under autocast; None for the weights'.

    Raises:
        ConfigError: There is batch normalisation and no batch for it.
    """
    if any(isinstance(module, _BatchNorm) for module in subnet.modules()):
        device = next(subnet.parameters()).device
        counter = _Counter(map_tensors(lambda each: each.to(device), inputs) for inputs in batches)
        with autocast_to(autocast_dtype, device):
            update_bn(counter, _Holding(subnet))
        if not counter.count:
            raise ConfigError("batch normalisation must be recalibrated with at least one batch, got none")
    subnet.eval()


@torch.no_grad()
def summed_score(network: nn.Module, batches: Iterable[tuple[Any, Any]], scorer: Scorer) -> Tensor:
    """Sums of losses, samples and metrics over batches, without a host sync, for `mean_score`.

    Args:
        network: an ordinary network in eval mode.
        batches: inputs and targets, such as images (B, channels, height, width) and labels (B,), on its device.
        scorer: computes losses and metrics of the task.

    Returns:
        (2 + S,) float64 on that device; those of several workers are added.
    """
    alone, sums = Separate([network]), None
    for inputs, targets in batches:
        with whole_float32():
            outputs = call(alone, inputs)
        losses_B = scorer.losses(outputs, targets)[0].double()
        own = torch.cat(
            [torch.stack([losses_B.sum(), losses_B.new_tensor(len(losses_B))]), scorer.sums(outputs, targets)[0]]
        )
        sums = own if sums is None else sums + own
    if sums is None:
        raise ConfigError("a score must have at least one batch, got none")
    return sums


def mean_score(sums: Tensor, scorer: Scorer) -> MeanScore:
    """The mean loss and the metrics, from the sums of `summed_score`."""
    loss, number = sums[:2].tolist()
    return MeanScore(loss / number, {name: float(each) for name, each in scorer.values(sums[None, 2:]).items()})


@torch.no_grad()
def sample_scores(
    subnets: nn.Module,
    batches: Iterable[tuple[Any, Any]],
    scorer: Scorer,
    *,
    autocast_dtype: torch.dtype | None = None,
) -> tuple[npt.NDArray[np.float64], list[dict[str, float]]]:
    """Loss of every sample for each network, and the metrics over all samples, with one host sync.

    Args:
        subnets: from inputs to outputs (N, B, ...), in eval mode; see `Supernet.together` and `Separate`.
        batches: inputs and targets, such as images (B, channels, height, width) and labels (B,), on the networks'
            device; at least one.
        scorer: computes losses and metrics of the task.
        autocast_dtype: type of the forward pass under autocast; None for the weights'.

    Returns:
        (N, samples) losses, minimised, in the order of the batches, and the metrics of each network by their names.
    """
    losses, sums_NS = [], None
    for inputs, targets in batches:
        with autocast_to(autocast_dtype, tensors_of(inputs)[0].device):
            outputs = call(subnets, inputs)
        outputs = map_tensors(at_least_float32, outputs)
        losses.append(scorer.losses(outputs, targets))
        own_NS = scorer.sums(outputs, targets)
        sums_NS = own_NS if sums_NS is None else sums_NS + own_NS
    if sums_NS is None:
        raise ConfigError("a score must have at least one batch, got none")
    values = {name: each.tolist() for name, each in scorer.values(sums_NS).items()}
    metrics = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    return torch.cat(losses, dim=1).double().cpu().numpy(), metrics


class _Holding(nn.Module):
    """A network that takes its inputs in a holder, since `update_bn` takes the first of several."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, held: "_Held") -> Any:
        """What the network gives."""
        return call(self.network, held.inputs)


class _Held:
    """The inputs of a batch."""

    def __init__(self, inputs: Any) -> None:
        self.inputs = inputs


class _Counter:
    """Passes batches on in holders and counts them."""

    def __init__(self, batches: Iterable[Any]) -> None:
        self.count = 0
        self._batches = batches

    def __iter__(self) -> Iterator[_Held]:
        for batch in self._batches:
            self.count += 1
            yield _Held(batch)
