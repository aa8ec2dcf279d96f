"""Figures of a search as Ray metrics, for the cluster's dashboard and for Prometheus.

Ray exports them as `ray_multinas_...` at the metrics port of the driver's node, if `ray[default]` is installed there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray
from ray.util.metrics import Counter, Gauge

from multinas_ray.core import small_to_large
from multinas_ray.settings import Measured, checked

INTERVAL_SECONDS = 1.0
"""Least time between two writes, so that they cost nothing however fast rounds are; Ray exports every 10 s."""

OF_DISTRIBUTIONS = {
    "expected_loss": "Weighted mean of the last update's losses; minimised",
    "expected_complexity": "Expected complexity, in its own unit",
    "entropy": "Entropy in nats, summed over the variables",
    "effective_sample_size": "Effective sample size of the last update",
    "mode_probability": "Probability of the likeliest architecture",
}
"""Diagnostics with their meaning. Each is a gauge, tagged with the number of the network, 0 for the smallest."""
TOTALS = {
    "evaluations": "Evaluations that the distributions have learned from, over all sessions of the run",
    "rounds": "Rounds done, including those of the warm-up, over all sessions of the run",
}
"""Counters."""
LEVELS = {
    "rounds_in_flight": "Rounds that wait at the broker or are being worked on",
    "trials_in_flight": "Trials whose result is awaited",
    "checkpoint_age_seconds": "Time since the workers were last asked to save a checkpoint",
}
"""Gauges of the whole run."""


@checked
@dataclass(frozen=True, kw_only=True)
class Figures:
    """Figures of a search at one moment; NaN for those that are not known."""

    diagnostics: Mapping[str, NDArray[Any]]
    """Diagnostics of the optimiser, as (K,) arrays."""
    complexity_scale: Measured
    """The cost that counts as a complexity of 1."""
    totals: Mapping[str, int]
    """Values of some of `TOTALS`."""
    levels: Mapping[str, Measured] = field(default_factory=dict)
    """Values of some of `LEVELS`."""


@runtime_checkable
class Figured(Protocol):
    """Something whose figures can be read."""

    def figures(self) -> Figures:
        """The figures as they are now."""


class SearchMetrics:
    """Writes figures to Ray's metrics, each tagged with the run's name.

    Args:
        run: name of the run.
        source: the search whose figures are written. They are read only when they are written.
    """

    def __init__(self, run: str, source: Figured) -> None:
        self._source = source
        each = {name: Gauge(_name(name), text, ("run", "network")) for name, text in OF_DISTRIBUTIONS.items()}
        self._gauges = {**each, **{name: Gauge(_name(name), text, ("run",)) for name, text in LEVELS.items()}}
        self._counters = {name: Counter(_name(name), text, ("run",)) for name, text in TOTALS.items()}
        for metric in (*self._gauges.values(), *self._counters.values()):
            metric.set_default_tags({"run": ascii_tag(run)})
        self._counted = dict.fromkeys(TOTALS, 0)
        self._written_seconds = -math.inf

    def tick(self) -> None:
        """Write if `INTERVAL_SECONDS` have passed. It may be called as often as one likes."""
        if time.monotonic() - self._written_seconds >= INTERVAL_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the present figures."""
        self._written_seconds = time.monotonic()
        figures = self._source.figures()
        order = small_to_large(figures.diagnostics["coefficient"], figures.diagnostics["target"])
        for name in OF_DISTRIBUTIONS:
            unit = figures.complexity_scale if name == "expected_complexity" else 1.0
            for network, k in enumerate(order):
                self._set(name, unit * float(figures.diagnostics[name][k]), {"network": str(network)})
        for name, level in figures.levels.items():
            self._set(name, level, {})
        for name, total in figures.totals.items():
            if total > self._counted[name]:
                self._counters[name].inc(total - self._counted[name])
                self._counted[name] = total

    def _set(self, name: str, value: float, tags: dict[str, str]) -> None:
        if math.isfinite(value):
            self._gauges[name].set(value, tags)


def ascii_tag(text: str) -> str:
    r"""A text as Ray's metrics can hold it, which is in ASCII; other characters become escapes such as \xe9."""
    return text.encode("ascii", "backslashreplace").decode()


def _name(name: str) -> str:
    return f"multinas_{name}"
