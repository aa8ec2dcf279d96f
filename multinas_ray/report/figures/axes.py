"""What an axis shows: the quantity and its unit."""

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
from multinas_ray.runs import Run, primary_metric

_COSTS = {
    # column: (its name, whether it is a count, whose unit depends on its size)
    "params": ("Parameters", True),
    "flops": ("Multiply-adds for one sample", True),
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
    """The value by which a cost is divided for that unit."""
    is_error: bool
    """Whether the vertical axis shows the error in percent; else it shows the loss."""
    metric: str = "Loss"
    """The name of the loss."""
    sign: float = 1.0
    """-1 if the metric is maximised, since the loss is then its negative."""

    def cost_of(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """The (n,) costs in the unit of the axis."""
        return frame[self.cost].to_numpy(dtype=float) / self.divisor

    def quality_of(self, frame: pd.DataFrame, loss: str, accuracy: str) -> npt.NDArray[np.float64]:
        """The (n,) errors in percent from the column `accuracy`, or losses from `loss`; lower is better."""
        if self.is_error:
            return error_percent(frame, accuracy)
        return frame[loss].to_numpy(dtype=float) if loss in frame else np.full(len(frame), np.nan)

    def points_of(self, frame: pd.DataFrame, loss: str, accuracy: str) -> Points:
        """The (n, 2) points of the picture: cost, then error or loss."""
        return np.stack([self.cost_of(frame), self.quality_of(frame, loss, accuracy)], axis=1)

    def describe(self, quality: float) -> str:
        """The text of an error or a loss in a label."""
        return f"{quality:.1f} %" if self.is_error else f"{self.sign * quality:.3g}"


def error_percent(frame: pd.DataFrame, accuracy: str) -> npt.NDArray[np.float64]:
    """The (n,) errors in percent from a column of accuracies; NaN if the column or its value is missing."""
    if accuracy not in frame:
        return np.full(len(frame), np.nan)
    return 100 * (1 - frame[accuracy].to_numpy(dtype=float))


def scale_of(run: Run, cost: str | None) -> Scale:
    """The axes for the evaluations of a run.

    Args:
        run: The run.
        cost: Column for the horizontal axis; None: the complexity of the search.

    Raises:
        ConfigError: The evaluations have no such cost.
    """
    frame = run.evaluations
    if cost is None:
        cost = "complexity" if run.complexity_cost is None else run.complexity_cost[0]
    known = ["complexity", *run.config["costs"]]
    if cost not in known:
        raise ConfigError(f"the evaluations have no cost {cost!r}: choose from {', '.join(known)}")
    label, divisor = cost_axis(cost, frame[cost].to_numpy(dtype=float))
    told = run.config.get("complexity") or {}
    if told.get("name") == cost and told.get("label"):  # as the user of a Tune pipeline named it
        label, divisor = cost_axis(str(told["label"]), frame[cost].to_numpy(dtype=float))
    failed = ~np.isfinite(frame["loss"].to_numpy(dtype=float))
    is_error = (
        primary_metric(run.config).is_share
        and bool(len(frame))
        and bool((frame["accuracy"].notna() | failed).all() and not failed.all())
    )
    return Scale(cost, label, divisor, is_error, str(run.config.get("metric", "Loss")), metric_sign(run))


def metric_sign(run: Run) -> float:
    """-1 if a Tune search maximises its metric, since the recorded loss is then its negative; else 1."""
    return -1.0 if run.config.get("mode") == "max" else 1.0


def cost_axis(cost: str, values: npt.NDArray[np.float64]) -> tuple[str, float]:
    """Return an axis label with a unit that suits the values, and the divisor for that unit."""
    label, is_count = _COSTS.get(cost, (_spelled(cost), False))
    finite = values[np.isfinite(values)]
    middle = float(np.median(finite)) if is_count and len(finite) else 0.0
    divisor, unit = next((one for one in _UNITS if middle >= one[0]), (1.0, ""))
    return label + unit, divisor


def number_ticks(axis: XAxis | YAxis, *, divisor: float = 1.0, sign: float = 1.0) -> None:
    """Write the numbers of an axis in full, with commas, in units of `divisor`."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{_plain(sign * value / divisor):,.6g}"))


def _plain(value: float) -> float:
    """The value, with 0 in place of -0."""
    return 0.0 if math.isclose(value, 0.0, abs_tol=1e-12) else value


def _spelled(name: str) -> str:
    """The readable name of a column: `cpu_latency_ms` becomes "Cpu latency (ms)"."""
    words = name.split("_")
    units = {"ms": "ms", "seconds": "s", "bytes": "bytes", "joules": "J", "mb": "MB"}
    if len(words) > 1 and words[-1] in units:
        return f"{' '.join(words[:-1]).capitalize()} ({units[words[-1]]})"
    return " ".join(words)
