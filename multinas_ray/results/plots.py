"""Pictures of a run, drawn without touching matplotlib's global state."""

# K distributions or networks

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from multinas_ray.errors import ConfigError
from multinas_ray.results import storage
from multinas_ray.results.labels import place_labels
from multinas_ray.results.pareto import pareto_front
from multinas_ray.results.run import Run

_DPI = 150
_LOG_RATIO = 20  # a cost that spans more than this gets a logarithmic axis
_SHOWN_SHARE = 0.98  # evaluations below the top of the axis; the rest would squeeze the picture
_ALONE: dict[str, Any] = {"s": 55, "marker": "D", "edgecolors": "black", "linewidths": 0.8}
_COSTS = {
    # column: (axis label, divisor, unit in the legend)
    "params": ("Parameters (millions)", 1e6, "M"),
    "flops": ("Multiply-adds for one image (millions)", 1e6, "M"),
    "latency_ms": ("Latency (ms)", 1.0, "ms"),
    "complexity": ("Complexity (share of the largest network's)", 1.0, ""),
}


@dataclass(frozen=True)
class _Scale:
    """What the two axes show."""

    cost: str
    cost_label: str
    divisor: float
    unit: str
    is_error: bool

    def cost_of(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        return frame[self.cost].to_numpy(dtype=float) / self.divisor

    def describe(self, cost: float, quality: float) -> str:
        text = f"{cost:.3g} {self.unit}".rstrip()
        return f"{text}, {quality:.1f} %" if self.is_error else f"{text}, {quality:.3g}"

    def quality_of(self, frame: pd.DataFrame, loss: str, accuracy: str) -> npt.NDArray[np.float64]:
        if self.is_error:
            return 100 * (1 - frame[accuracy].to_numpy(dtype=float))
        return frame[loss].to_numpy(dtype=float)


def plot_pareto(run: Run, path: storage.AnyPath, *, cost: str | None = None) -> None:
    """Draw every evaluation, the front of them all, and the K networks, as a PNG.

    The vertical axis is the error where every evaluation has an accuracy, else the loss: on the validation
    images for evaluations, on the test images for networks trained alone. The networks are the final ones
    (with shared weights, and trained alone where that is known); before they are chosen, each distribution's
    expectation at the newest update.

    Args:
        run: The run.
        path: The PNG; its folder exists.
        cost: Column for the horizontal axis; None takes the cost that drove the search.

    Raises:
        ConfigError: There is no such column, or no evaluation succeeded yet.
    """
    scale = _scale(run, cost)
    costs, quality = scale.cost_of(run.evaluations), scale.quality_of(run.evaluations, "loss", "accuracy")
    usable = np.isfinite(costs) & np.isfinite(quality)
    if not usable.any():
        raise ConfigError(f"{run.path} has no successful evaluation to draw yet: wait for the first round")
    figure, axes = _figure(1)
    _draw_evaluations(axes[0], costs[usable], quality[usable])
    _draw_networks(axes[0], run, scale)
    axes[0].set_xlabel(scale.cost_label)
    axes[0].set_ylabel("Error (%)" if scale.is_error else "Loss")
    axes[0].set_title(f"{int(usable.sum()):,} evaluations in one search", loc="left")
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0.0)
    _save(figure, path)


def plot_distributions(run: Run, path: storage.AnyPath) -> None:
    """Draw expected complexity and entropy of each distribution over the updates, as a PNG.

    Args:
        run: The run.
        path: The PNG; its folder exists.

    Raises:
        ConfigError: No update was recorded yet.
    """
    if run.distributions.empty:
        raise ConfigError(f"{run.path} has no recorded update to draw yet: wait for the first flush")
    figure, (top, bottom) = _figure(2)
    groups = list(run.distributions.groupby("distribution"))
    colours = _colours(len(groups))
    # the largest coefficient asks for the smallest network; the legend runs from large networks to small
    for colour, (number, rows) in zip(colours[::-1], groups, strict=True):
        label = f"{number}: coefficient {rows['coefficient'].iloc[-1]:.3g}"
        top.plot(rows["update"], rows["expected_complexity"], color=colour, label=label)
        bottom.plot(rows["update"], rows["entropy"], color=colour)
        target = rows["target"].iloc[-1]
        if np.isfinite(target):
            top.axhline(target, color=colour, linestyle=":", linewidth=1)
    top.set_ylabel("Expected complexity\n(share of the largest)")
    bottom.set_ylabel("Entropy (nats)")
    bottom.set_xlabel("Update")
    for axis in (top, bottom):
        axis.set_ylim(bottom=0)
    top.set_title(f"{len(groups)} distributions", loc="left")
    top.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, borderaxespad=0.0)
    _save(figure, path)


def _scale(run: Run, cost: str | None) -> _Scale:
    frame = run.evaluations
    if cost is None:
        cost = "complexity" if run.driving_cost is None else run.driving_cost[0]
    if cost not in frame or not pd.api.types.is_float_dtype(frame[cost]):
        numbers = [str(name) for name in frame if pd.api.types.is_float_dtype(frame[name])]
        raise ConfigError(f"the evaluations have no cost {cost!r}: choose one of {', '.join(numbers)}")
    label, divisor, unit = _COSTS.get(cost, (cost.replace("_", " "), 1.0, ""))
    failed = ~np.isfinite(frame["loss"].to_numpy(dtype=float))
    is_error = bool(len(frame)) and bool((frame["accuracy"].notna() | failed).all() and not failed.all())
    return _Scale(cost, label, divisor, unit, is_error)


def _draw_evaluations(axes: Axes, costs: npt.NDArray[np.float64], quality: npt.NDArray[np.float64]) -> None:
    front = pareto_front(quality, costs)
    top = float(np.quantile(quality, _SHOWN_SHARE))
    low = float(quality.min())
    margin = 0.06 * (top - low) or 0.5
    hidden = int((quality > top + margin).sum())
    label = "evaluated, validation images" + (f"\n({hidden:,} above the axis)" if hidden else "")
    axes.scatter(costs, quality, s=7, color="0.72", linewidths=0, label=label, rasterized=True, zorder=1)
    axes.step(costs[front], quality[front], where="post", color="0.25", linewidth=1.2, zorder=2)
    axes.plot(costs[front], quality[front], ".", color="0.25", label="best of all evaluated", zorder=2)
    axes.set_ylim(low - 2 * margin, top + margin)
    if costs.min() > 0 and costs.max() / costs.min() > _LOG_RATIO:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())


def _draw_networks(axes: Axes, run: Run, scale: _Scale) -> None:
    frame = run.architectures
    if frame.empty or scale.cost not in frame:
        _draw_expectations(axes, run, scale)
        return
    costs = scale.cost_of(frame)
    shared = scale.quality_of(frame, "supernet_loss", "supernet_accuracy")
    alone = scale.quality_of(frame, "retrained_loss", "retrained_accuracy")
    colours, ranks = _colours(len(frame)), [str(rank) for rank in frame["rank"]]
    for rank, x, y, colour in zip(ranks, costs, shared, colours, strict=True):
        label = f"{rank}: {scale.describe(x, y)}"
        axes.scatter([x], [y], s=80, color=[colour], edgecolors="white", linewidths=0.8, label=label, zorder=4)
    if np.isfinite(alone).any():
        for x, y, end, colour in zip(costs, shared, alone, colours, strict=True):
            axes.plot([x, x], [y, end], color=colour, linewidth=0.8, linestyle=":", zorder=3)
            axes.scatter([x], [end], color=[colour], zorder=4, **_ALONE)
        axes.scatter([], [], color="white", label="trained alone, test images", **_ALONE)
    _include(axes, np.concatenate([shared, alone]))
    place_labels(axes, costs, shared, ranks)


def _draw_expectations(axes: Axes, run: Run, scale: _Scale) -> None:
    """Mark where the distributions stand, while no network is chosen; possible on the driving axes only."""
    if run.distributions.empty or scale.cost != "complexity" or scale.is_error:
        return
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    newest = newest.sort_values("expected_complexity")
    costs, losses = newest["expected_complexity"].to_numpy(), newest["expected_loss"].to_numpy()
    axes.scatter(
        costs, losses, s=80, c=_colours(len(newest)), edgecolors="white", linewidths=0.8, zorder=4,
        label=f"expectations, update {newest['update'].iloc[0]}",
    )  # fmt: skip
    _include(axes, losses)


def _include(axes: Axes, values: npt.NDArray[np.float64]) -> None:
    """Widen the vertical axis so that no network is cut off."""
    finite = values[np.isfinite(values)]
    if len(finite):
        low, high = axes.get_ylim()
        margin = 0.08 * (high - low)
        axes.set_ylim(min(low, float(finite.min()) - margin), max(high, float(finite.max()) + margin))


def _colours(count: int) -> list[Any]:
    """Return colours from small (dark) to large (bright), also apart in grey and for the colour-blind."""
    return [colormaps["viridis"](0.92 * index / max(1, count - 1)) for index in range(count)]


def _figure(num_axes: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9.6, 5.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(num_axes, 1, sharex=True, squeeze=False)
    axes: list[Axes] = list(grid[:, 0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(True, color="0.92", linewidth=0.8)
        one.set_axisbelow(True)
    return figure, axes


def _save(figure: Figure, path: storage.AnyPath) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DPI)
    storage.write_atomic(path, picture.getvalue())
