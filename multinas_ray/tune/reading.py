"""What a trial's last result, flattened by Tune, says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from multinas_ray.errors import ConfigError
from multinas_ray.runs import ConfigSpace
from multinas_ray.tune.complexity import Complexities

CONFIG_KEY = "config/"
"""Tune puts a trial's configuration into its results, each value under this and its path."""


def read_result(
    complexities: Complexities,
    metric: str,
    config: dict[str, Any],
    result: Mapping[str, Any] | None,
    warn: Callable[..., None],
) -> tuple[float | None, dict[str, float | None]]:
    """Find metric and complexities.

    Args:
        complexities: what is measured.
        metric: key of the metric.
        config: the trial's configuration.
        result: its last result; None if it raised.
        warn: takes a kind, a message and its values, and says each kind once.

    Returns:
        The metric, None for a failed trial, and the raw complexities by column.
    """
    try:
        costs = complexities.of_result(config, result or {})
    except Exception as error:
        warn("function", "A complexity function raised %r for %s: such trials count as failed.", error, config)
        return None, {}
    if result is None:
        return None, costs
    value = _finite(result.get(metric))
    if value is None:
        told = result.get(metric, "missing")
        warn("metric", "Metric %r is %s in a result: such trials count as failed.", metric, told)
        return None, costs
    raw = costs[complexities.column]
    if raw is None or not (math.isfinite(raw) and raw >= 0):
        warn(
            "complexity",
            "Complexity %r is %s in a result, it must be a finite number from 0: such trials count as failed. A "
            "Repeater passes on the metric only: give the complexity as a function of the config then.",
            complexities.label,
            "missing" if raw is None else raw,
        )
        return None, costs
    return value, costs


def architecture_of(space: ConfigSpace, result: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Find the architecture of a result's configuration; None if the result does not tell it."""
    names = [variable.name for variable in space.search_space.variables]
    try:
        return space.encode({name: result[CONFIG_KEY + name] for name in names})
    except (KeyError, ConfigError):
        return None


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
