"""Reading a trial's last result, which Tune has flattened."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from multinas_ray.errors import FAILURES, ConfigError
from multinas_ray.runs import ConfigSpace
from multinas_ray.tune.complexity import Complexities

logger = logging.getLogger(__name__)

CONFIG_KEY = "config/"
"""Tune puts a trial's configuration into its results, where each key is this prefix and the value's path."""


def loss_of(value: float, mode: str | None) -> float:
    """Turn a metric into a loss, which is minimised. Only here is the sign of mode "max" changed."""
    return -value if mode == "max" else value


class Warner:
    """Logs warnings, but each kind only once."""

    def __init__(self) -> None:
        self._kinds: set[str] = set()

    def __call__(self, kind: str, message: str, *values: object) -> None:
        """Log a message; the values take the places of %s in it."""
        if kind not in self._kinds:
            self._kinds.add(kind)
            logger.warning(message, *values)


class ResultReader:
    """Reads the results of a search's trials.

    Args:
        complexities: what is measured.
        metric: key of the metric.
        mode: "min" or "max".
        warn: logs a warning for results that count as failed.
    """

    def __init__(self, complexities: Complexities, metric: str, mode: str, warn: Warner) -> None:
        self._complexities, self._metric, self._mode, self._warn = complexities, metric, mode, warn

    def read(self, config: dict[str, Any], result: Mapping[str, Any] | None) -> tuple[float, dict[str, float | None]]:
        """Find loss and complexities.

        Args:
            config: the trial's configuration.
            result: its last result; None if it raised.

        Returns:
            The loss, inf for a failed trial, and the raw complexities by column.
        """
        try:
            costs = self._complexities.of_result(config, result or {})
        except FAILURES as error:  # the function is the user's and may raise anything
            self._warn(
                "function", "A complexity function raised %r for %s: such trials count as failed.", error, config
            )
            return math.inf, {}
        if result is None:
            return math.inf, costs
        value = _finite(result.get(self._metric))
        if value is None:
            told = result.get(self._metric, "missing")
            self._warn("metric", "Metric %r is %s in a result: such trials count as failed.", self._metric, told)
            return math.inf, costs
        is_usable = all(self._is_usable(label, costs[name]) for name, label in self._complexities.names.items())
        return loss_of(value, self._mode) if is_usable else math.inf, costs

    def _is_usable(self, label: str, raw: float | None) -> bool:
        if raw is not None and math.isfinite(raw) and raw >= 0:
            return True
        self._warn(
            "complexity",
            "Complexity %r must be a finite number of at least 0, it is %s in a result: such trials count as failed. "
            "With a Repeater, which passes on the metric only, give the complexity as a function of the config.",
            label,
            "missing" if raw is None else raw,
        )
        return False


def config_in(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """The configuration in a result, by paths; empty if there is none."""
    items = (result or {}).items()
    return {key.removeprefix(CONFIG_KEY): value for key, value in items if key.startswith(CONFIG_KEY)}


def architecture_of(space: ConfigSpace, result: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Find the architecture of a result's configuration; None if the result does not contain it."""
    try:
        return space.encode_flat(config_in(result))
    except ConfigError:
        return None


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
