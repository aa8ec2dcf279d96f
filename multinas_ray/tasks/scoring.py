"""The loss and the metrics of a task, computed so that batches and workers combine exactly: as sums over samples.

Notation: N networks, B samples, S sums of a metric.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from multinas_ray.data import map_tensors, num_samples, tensors_of
from multinas_ray.errors import ConfigError, raised_by
from multinas_ray.settings import checked_arguments
from multinas_ray.tasks.named import TORCH_LOSSES, find_loss, find_metric
from multinas_ray.tasks.task import Metric, Task


class MeanScore(NamedTuple):
    """How good a network is on some samples."""

    loss: float
    """Mean over the samples; minimised."""
    metrics: dict[str, float]
    """The metrics of the task by their names."""


class Scorer:
    """Computes what a task is about. Outputs are those of N networks, each of their tensors of the shape (N, B, ...).

    Args:
        task: the task.

    Raises:
        ConfigError: there is no such loss or metric, or a metric cannot be combined over batches.
    """

    @checked_arguments
    def __init__(self, task: Task) -> None:
        self.task = task
        self._loss = functools.partial(find_loss(str(task.loss)), **task.loss_options)
        self._metrics = {name: _sums_of(name, each) for name, each in task.metrics.items() if isinstance(each, Metric)}
        self._can_reduce = task.is_classification or str(task.loss).startswith(TORCH_LOSSES)

    def training_loss(self, outputs: Any, targets: Any, label_smoothing: float = 0.0) -> Tensor:
        """The mean loss over networks and samples, a scalar with a gradient.

        Args:
            outputs: of N networks, (N, B, ...).
            targets: of the samples, (B, ...).
            label_smoothing: share of the target that is spread over all classes; of classification alone.

        Raises:
            ConfigError: the loss is none, or has no gradient.
        """
        smoothing = {"label_smoothing": label_smoothing} if self.task.is_classification else {}
        loss = self._call(_flat(outputs), _repeated(targets, len(tensors_of(outputs)[0])), **smoothing)
        if not loss.requires_grad:
            raise ConfigError(
                f"the loss {self.task.loss} must have a gradient, it has none: compute it from the model's outputs by "
                "functions of torch, without detach, argmax or numbers of Python, and let the outputs depend on weights"
            )
        return loss.mean() if loss.ndim else loss

    def distance(self, outputs: Any, wanted: Any) -> Tensor:
        """How far outputs are from those of another network, a scalar with a gradient.

        For classes it is the cross-entropy with the other network's probabilities (Hinton et al., arXiv 1503.02531, at
        temperature 1); for other tasks the mean squared difference. [ours]

        Args:
            outputs: of N networks, (N, B, ...).
            wanted: outputs of one network for the same samples, (1, B, ...), without a gradient.
        """
        pairs = zip(tensors_of(_flat(outputs)), tensors_of(_flat(wanted)), strict=True)
        far = []
        for own, other in pairs:
            if own.is_floating_point():
                other = other.repeat(len(own) // len(other), *[1] * (other.ndim - 1))
                is_class = self.task.is_classification
                far.append(cross_entropy(own, other.softmax(1)) if is_class else mse_loss(own, other))
        return torch.stack(far).mean()

    def losses(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of each network on each sample, (N, B).

        Args:
            outputs: of N networks, (N, B, ...).
            targets: of the samples, (B, ...).

        Raises:
            ConfigError: the loss is none.
        """
        first = tensors_of(outputs)[0]
        flat, repeated = _flat(outputs), _repeated(targets, len(first))
        found = self._call(flat, repeated, **({"reduction": "none"} if self._can_reduce else {}))
        if not found.ndim:  # a mean over the samples, so each is computed by itself
            each = [_part(n, flat, repeated) for n in range(num_samples(flat))]
            found = torch.stack([self._call(*pair) for pair in each])
        return found.flatten(1).mean(1).view(first.shape[:2]) if found.ndim > 1 else found.view(first.shape[:2])

    def sums(self, outputs: Any, targets: Any, names: Sequence[str] | None = None) -> Tensor:
        """What metrics need of a batch, (N, S) float64; the sums of several batches and workers are added.

        Args:
            outputs: of N networks, (N, B, ...).
            targets: of the samples, (B, ...).
            names: of the metrics; None: all.
        """
        return torch.cat([self._metrics[name].sums(outputs, targets) for name in self._chosen(names)], dim=1)

    def values(self, sums_NS: Tensor, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The metrics of N networks, (N,) each, from their sums."""
        metrics = {name: self._metrics[name] for name in self._chosen(names)}
        parts = torch.split(sums_NS, [each.size for each in metrics.values()], dim=1)
        return {name: each.values(part) for (name, each), part in zip(metrics.items(), parts, strict=True)}

    @property
    def primary(self) -> list[str]:
        """The name of the primary metric, for `sums` and `values`."""
        return [str(self.task.primary)]

    def _chosen(self, names: Sequence[str] | None) -> Sequence[str]:
        return list(self._metrics) if names is None else names

    def _call(self, outputs: Any, targets: Any, **further: Any) -> Tensor:
        """What the loss gives for B samples: a scalar, or a tensor with an entry for each sample.

        Raises:
            ConfigError: it gives neither.
        """
        with raised_by(f"the loss {self.task.loss}"):
            loss = self._loss(outputs, targets, **further)
        if not isinstance(loss, Tensor) or (loss.ndim and len(loss) != num_samples(outputs)):
            found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise ConfigError(
                f"the loss {self.task.loss} must be a scalar, the mean over the samples, or have one value for each of "
                f"{num_samples(outputs)} samples, it gave {found}: let it end with a mean"
            )
        return loss


class MeanMetric:
    """A metric that is the mean of a function of each sample.

    Args:
        name: name of the metric in messages.
        function: from outputs and targets to (B, ...).
    """

    size = 2

    def __init__(self, name: str, function: Callable[..., Tensor]) -> None:
        self._name, self._function = name, function

    def sums(self, outputs: Any, targets: Any) -> Tensor:
        """(N, 2): the sum over the samples, and their number."""
        num, samples = tensors_of(outputs)[0].shape[:2]
        with raised_by(f"the metric {self._name}"):
            found = self._function(_flat(outputs), _repeated(targets, num))
        if not isinstance(found, Tensor) or not found.ndim or len(found) != num * samples:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(
                f"the metric {self._name} must give one value for each of {num * samples} samples, it gave {shape}: "
                "leave out the mean over samples"
            )
        sums_N = found.double().flatten(1).mean(1) if found.ndim > 1 else found.double()
        sums_N = sums_N.view(num, samples).sum(1)
        return torch.stack([sums_N, torch.full_like(sums_N, samples)], dim=1)

    def values(self, sums_NS: Tensor) -> Tensor:
        """(N,) means."""
        return sums_NS[:, 0] / sums_NS[:, 1]


class SummedMetric:
    """A metric of torchmetrics, whose states are sums.

    Args:
        name: name of the metric in messages.
        metric: the metric.

    Raises:
        ConfigError: a state of it is something else than a sum.
    """

    def __init__(self, name: str, metric: Any) -> None:
        self._name, self._metric = name, metric
        defaults: Mapping[str, Any] = metric._defaults
        reductions = metric._reductions
        if others := [key for key in defaults if getattr(reductions[key], "__name__", "") != "dim_zero_sum"]:
            raise ConfigError(
                f"the states of a metric must be sums, so that batches and workers combine, {', '.join(others)} of "
                f"{name} are not: use a metric of fixed thresholds or bins (thresholds=...), or another metric"
            )
        self._shapes = {key: (each.shape, each.dtype) for key, each in defaults.items()}
        self.size = sum(each.numel() for each in defaults.values())

    def sums(self, outputs: Any, targets: Any) -> Tensor:
        """(N, S): the states after the batch."""
        num = len(tensors_of(outputs)[0])
        rows = [self._states(map_tensors(itemgetter(n), outputs), targets) for n in range(num)]
        return torch.stack(rows)

    def _states(self, outputs: Any, targets: Any) -> Tensor:
        self._metric.to(tensors_of(outputs)[0].device)
        self._metric.reset()
        with raised_by(f"the metric {self._name}"):
            self._metric.update(outputs, targets)
        return torch.cat([getattr(self._metric, key).flatten().double() for key in self._shapes])

    def values(self, sums_NS: Tensor) -> Tensor:
        """(N,) figures."""
        return torch.stack([self._value(row) for row in sums_NS])

    def _value(self, sums_S: Tensor) -> Tensor:
        self._metric.to(sums_S.device)
        self._metric.reset()
        start = 0
        for key, (shape, dtype) in self._shapes.items():
            setattr(self._metric, key, sums_S[start : start + shape.numel()].view(shape).to(dtype))
            start += shape.numel()
        self._metric._update_count = 1
        with raised_by(f"the metric {self._name}"):
            value = self._metric.compute()
        if not isinstance(value, Tensor) or value.numel() != 1:
            raise ConfigError(
                f"a metric must be one number, {self._name} gave {value!r}: choose an average (such as macro), or "
                "another metric"
            )
        return value.double().reshape(())


def _sums_of(name: str, metric: Metric) -> MeanMetric | SummedMetric:
    found = find_metric(str(metric.function))
    if not isinstance(found, type):
        return MeanMetric(name, functools.partial(found, **metric.options))
    with raised_by(f"the metric {name}"):
        made = found(**metric.options)
    if not hasattr(made, "_reductions"):
        raise ConfigError(f"the metric {name} must be a function or a class of torchmetrics, got {metric.function}")
    return SummedMetric(name, made)


def _flat(outputs: Any) -> Any:
    """Outputs of N networks as one batch of N * B samples."""
    return map_tensors(lambda each: each.flatten(0, 1), outputs)


def _repeated(targets: Any, num: int) -> Any:
    """Targets of B samples for N networks, one after the other."""
    return map_tensors(lambda each: each.repeat(num, *[1] * (each.ndim - 1)), targets)


def _part(n: int, *values: Any) -> list[Any]:
    """One sample as a batch."""
    return [map_tensors(lambda each: each[n : n + 1], each) for each in values]
