"""What an axis shows: which quantity, in which unit."""

# n evaluations or networks

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axis import XAxis, YAxis
from matplotlib.ticker import FuncFormatter

from multinas_ray.errors import ConfigError
from multinas_ray.report.figures.labels import Points
from multinas_ray.runs import Run

_COSTS = {
    # column: (what it is, whether it is a count: then its unit follows its size)
    "params": ("Parameters", True),
    "flops": ("Multiply-adds for one image", True),
    "latency": ("Latency (ms)", False),
    "latency_ms": ("Latency (ms)", False),
    "complexity": ("Complexity (share of the largest network's)", False),
}
_UNITS = ((1e9, " (billions)"), (1e6, " (millions)"), (1e3, " (thousands)"))


@dataclass(frozen=True)
class Scale:
    """What the two axes of a Pareto picture show."""

    cost: str
    """Column of the cost."""
    cost_label: str
    """Its axis label, with the unit."""
    divisor: float
    """What a cost is divided by for that unit."""
    is_error: bool
    """The other axis shows the error in percent, else the loss."""
    metric: str = "Loss"
    """What the loss is called."""
    sign: float = 1.0
    """-1 where the metric is maximised: the loss is its negative."""

    def cost_of(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """(n,) costs in the axis's unit."""
        return frame[self.cost].to_numpy(dtype=float) / self.divisor

    def quality_of(self, frame: pd.DataFrame, loss: str, accuracy: str) -> npt.NDArray[np.float64]:
        """(n,) errors in percent from column `accuracy`, or losses from column `loss`; lower is better."""
        if self.is_error:
            return error_percent(frame, accuracy)
        return frame[loss].to_numpy(dtype=float) if loss in frame else np.full(len(frame), np.nan)

    def points_of(self, frame: pd.DataFrame, loss: str, accuracy: str) -> Points:
        """(n, 2) places in the picture: cost, then error or loss."""
        return np.stack([self.cost_of(frame), self.quality_of(frame, loss, accuracy)], axis=1)

    def describe(self, quality: float) -> str:
        """An error or a loss as a label shows it."""
        return f"{quality:.1f} %" if self.is_error else f"{self.sign * quality:.3g}"


def error_percent(frame: pd.DataFrame, accuracy: str) -> npt.NDArray[np.float64]:
    """(n,) errors in percent from a column of accuracies; NaN where the column or its value is missing."""
    if accuracy not in frame:
        return np.full(len(frame), np.nan)
    return 100 * (1 - frame[accuracy].to_numpy(dtype=float))


def scale_of(run: Run, cost: str | None) -> Scale:
    """The axes for a run's evaluations.

    Args:
        run: The run.
        cost: Column for the horizontal axis; None takes the cost that drove the search.

    Raises:
        ConfigError: The evaluations have no such cost.
    """
    frame = run.evaluations
    if cost is None:
        cost = "complexity" if run.complexity_cost is None else run.complexity_cost[0]
    if cost not in frame or not pd.api.types.is_float_dtype(frame[cost]):
        numbers = [str(name) for name in frame if pd.api.types.is_float_dtype(frame[name])]
        raise ConfigError(f"the evaluations have no cost {cost!r}: choose one of {', '.join(numbers)}")
    label, divisor = cost_axis(cost, frame[cost].to_numpy(dtype=float))
    told = run.config.get("complexity") or {}
    if told.get("name") == cost and told.get("label"):  # as the user of a Tune pipeline named it
        label, divisor = cost_axis(str(told["label"]), frame[cost].to_numpy(dtype=float))
    failed = ~np.isfinite(frame["loss"].to_numpy(dtype=float))
    is_error = bool(len(frame)) and bool((frame["accuracy"].notna() | failed).all() and not failed.all())
    return Scale(cost, label, divisor, is_error, str(run.config.get("metric", "Loss")), metric_sign(run))


def metric_sign(run: Run) -> float:
    """-1 where a Tune pipeline maximises its metric, of which the recorded loss is the negative; else 1."""
    return -1.0 if run.config.get("mode") == "max" else 1.0


def cost_axis(cost: str, values: npt.NDArray[np.float64]) -> tuple[str, float]:
    """Return an axis label with the unit that suits the values, and what to divide them by."""
    label, is_count = _COSTS.get(cost, (_spelled(cost), False))
    finite = values[np.isfinite(values)]
    middle = float(np.median(finite)) if is_count and len(finite) else 0.0
    divisor, unit = next((one for one in _UNITS if middle >= one[0]), (1.0, ""))
    return label + unit, divisor


def number_ticks(axis: XAxis | YAxis, *, divisor: float = 1.0, sign: float = 1.0) -> None:
    """Write an axis's numbers in full, with commas, in a unit of `divisor`."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{_plain(sign * value / divisor):,.6g}"))


def _plain(value: float) -> float:
    """No minus before a zero."""
    return 0.0 if math.isclose(value, 0.0, abs_tol=1e-12) else value


def _spelled(name: str) -> str:
    """A column's name for a person: `cpu_latency_ms` is "cpu latency (ms)"."""
    words = name.split("_")
    units = {"ms": "ms", "seconds": "s", "bytes": "bytes", "joules": "J", "mb": "MB"}
    if len(words) > 1 and words[-1] in units:
        return f"{' '.join(words[:-1]).capitalize()} ({units[words[-1]]})"
    return " ".join(words)
