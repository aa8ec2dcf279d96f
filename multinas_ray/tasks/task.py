"""The settings of a task: by what networks are trained and compared. Without torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked
from multinas_ray.tasks.named import loss_name, losses, metric_name, metrics


@checked
@dataclass(frozen=True)
class Metric:
    """A metric with its arguments.

    Raises:
        ConfigError: the metric is not known by a name.
    """

    function: str | Callable[..., Any]
    """Name or function: one under `register_metric`, or a class of torchmetrics: "torchmetrics.JaccardIndex"."""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Its further arguments, plain data, such as {"task": "multiclass", "num_classes": 3}."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "function", metric_name(self.function))


@checked
@dataclass(frozen=True)
class Task:
    """What networks are trained for. The default is classification: cross-entropy and accuracy.

    Raises:
        ConfigError: loss or metrics are not known by a name, or the primary metric is not among the metrics.
    """

    loss: str | Callable[..., Any] = "cross_entropy"
    """What training minimises and the search compares, for outputs and targets of a batch: a function of
    `torch.nn.functional`, by itself or by its name, such as "torch.nn.functional.mse_loss", or one under
    `register_task_loss`."""
    loss_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Its further arguments, plain data."""
    metrics: Mapping[str, Metric | str | Callable[..., Any]] = dataclasses.field(
        default_factory=lambda: {"accuracy": Metric("accuracy")}
    )
    """Figures that are told beside the loss, by the names that they have in report and card. They decide nothing."""
    primary: str | None = None
    """The one of them that tables and pictures show, in the columns named accuracy; None: the first."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "loss", loss_name(self.loss))
        made = {name: each if isinstance(each, Metric) else Metric(each) for name, each in self.metrics.items()}
        object.__setattr__(self, "metrics", made)
        if not made:
            raise ConfigError("a task must have at least one metric, got none: name one that people understand")
        primary = next(iter(made)) if self.primary is None else self.primary
        object.__setattr__(self, "primary", primary)
        if primary not in made:
            raise ConfigError(f"primary must be one of the metrics {', '.join(made)}, got {primary!r}")

    @property
    def is_classification(self) -> bool:
        """Whether the loss is the cross-entropy, whose labels may be smoothed and whose logits a teacher may soften."""
        return self.loss == "cross_entropy"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        told = {
            name: {"function": each.function, "options": dict(each.options)} for name, each in self._metrics.items()
        }
        return {"loss": self.loss, "loss_options": dict(self.loss_options), "metrics": told, "primary": self.primary}

    @property
    def _metrics(self) -> dict[str, Metric]:
        return dict(self.metrics)  # type: ignore[arg-type]  # they were made

    def __reduce__(self) -> Any:
        """Take registered functions along to other processes, which may not have imported their module."""
        names = [(losses, str(self.loss)), *((metrics, str(each.function)) for each in self._metrics.values())]
        own = [(registry is losses, name, registry.find(name)) for registry, name in names if name in registry.names]
        return _received, (own, self.to_dict())


def read_task(description: Any) -> Any:
    """The task that `Task.to_dict` described; anything else stays as it is, for the check of its field to tell.

    Raises:
        ConfigError: a loss or metric is not known.
    """
    if not isinstance(description, Mapping):
        return description
    fields = dict(description)
    if isinstance(fields.get("metrics"), Mapping):
        described = fields["metrics"].items()
        fields["metrics"] = {name: Metric(**each) if isinstance(each, Mapping) else each for name, each in described}
    return Task(**fields)


def _received(own: list[tuple[bool, str, Callable[..., Any]]], description: Mapping[str, Any]) -> Task:
    """A task that was sent from another process."""
    for is_loss, name, function in own:
        (losses if is_loss else metrics).add(name, function)
    task: Task = read_task(description)
    return task
