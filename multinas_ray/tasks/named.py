"""Losses and metrics by name: those of PyTorch and torchmetrics, ours, and those that a user registers.

A record holds names and no code, so that opening it runs nothing but what the user has imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, TypeVar

from multinas_ray.errors import ConfigError, require
from multinas_ray.registry import Registry

Function = TypeVar("Function", bound=Callable[..., Any])

TORCH_LOSSES, TORCH_METRICS = "torch.nn.functional.", "torchmetrics."

_BUILT_IN = "multinas_ray.tasks.classification"
losses: Registry[Callable[..., Any]] = Registry("loss of a task", {"cross_entropy": _BUILT_IN})
metrics: Registry[Callable[..., Any]] = Registry("metric", {"accuracy": _BUILT_IN})


def register_task_loss(loss: Function) -> Function:
    """Make a loss known by its name, so that a task can be recorded; use it as a decorator.

    The loss is a function of outputs and targets, as the model and the dataset give them for a batch. It returns one
    value for each sample, (B, ...), or their mean; it is minimised. Further arguments are `Task.loss_options`.

    Returns:
        The function, unchanged.

    Raises:
        ConfigError: another loss has the name already.
    """
    losses.add(loss.__name__, loss)
    return loss


def register_metric(metric: Function) -> Function:
    """Make a metric known by its name, so that a task can be recorded; use it as a decorator.

    A metric is a function of outputs and targets that returns one value for each sample, (B, ...), whose mean over all
    samples is the figure. Or it is a class derived from `torchmetrics.Metric` whose states are sums.

    Returns:
        The function or class, unchanged.

    Raises:
        ConfigError: another metric has the name already.
    """
    metrics.add(metric.__name__, metric)
    return metric


def loss_name(loss: object) -> str:
    """The name of a loss, given by its name or as a function.

    Raises:
        ConfigError: it is not known by any name.
    """
    name = _name(losses, loss, TORCH_LOSSES, "register_task_loss")
    return "cross_entropy" if name == f"{TORCH_LOSSES}cross_entropy" else name


def metric_name(metric: object) -> str:
    """The name of a metric, given by its name, as a function or as a class.

    Raises:
        ConfigError: it is not known by any name.
    """
    return _name(metrics, metric, TORCH_METRICS, "register_metric")


def find_loss(name: str) -> Callable[..., Any]:
    """The loss of a name.

    Raises:
        ConfigError: there is none.
    """
    return _find(losses, name, TORCH_LOSSES)


def find_metric(name: str) -> Callable[..., Any]:
    """The metric of a name.

    Raises:
        ConfigError: there is none.
        MissingPackageError: it is one of torchmetrics, which is not installed.
    """
    return _find(metrics, name, TORCH_METRICS)


def _name(registry: Registry[Callable[..., Any]], given: object, prefix: str, decorator: str) -> str:
    if isinstance(given, str):
        return given if given.startswith(prefix) else registry.check(given)
    name = str(getattr(given, "__name__", given))
    if name in registry.names and registry.find(name) is given:
        return name
    path = f"{prefix}{name}"
    if str(getattr(given, "__module__", "")).startswith(("torch.", "torchmetrics")) and _found(path) is given:
        return path
    raise ConfigError(
        f"a record holds losses and metrics by their names, {name} has none: write @{decorator} over it, or name one "
        f'by "{prefix}..."'
    )


def _find(registry: Registry[Callable[..., Any]], name: str, prefix: str) -> Callable[..., Any]:
    if not name.startswith(prefix):
        return registry.find(name)
    found = _found(name)
    if found is None:
        raise ConfigError(f"there is no {name}: choose one that {prefix.rstrip('.')} has, or register your own")
    return found


def _found(path: str) -> Callable[..., Any] | None:
    """What a library has under a path; None if it has nothing that can be called."""
    module, _, name = path.rpartition(".")
    if module.startswith("torchmetrics"):
        require("torchmetrics", extra="metrics", purpose="metrics of torchmetrics")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError:
        return None
    return found if callable(found) and not name.startswith("_") else None
