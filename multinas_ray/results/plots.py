"""Pictures of a run, drawn without touching matplotlib's global state."""

# K distributions or networks; points are (n, 2): cost, then error or loss

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullLocator

from multinas_ray.errors import ConfigError
from multinas_ray.results import storage
from multinas_ray.results.labels import Points, place_labels
from multinas_ray.results.pareto import pareto_front
from multinas_ray.results.run import Run

_DPI = 150
_LOG_RATIO = 20  # a cost that spans more than this gets a logarithmic axis
_LATE_PART = 5  # the last evaluations, one in so many, were made with nearly the final weights
_SHOWN_SHARE = 0.95  # late evaluations below the top of the axis; the rest would squeeze the picture
_EARLY, _LATE = "#d6dce4", "#869bb1"  # cool and pale, behind the warm networks
_SIZE = 190  # a network's marker, points squared
_NETWORK: dict[str, Any] = {"marker": "o", "edgecolors": "white", "linewidths": 1.8, "zorder": 5}
_ALONE: dict[str, Any] = {"s": 80, "marker": "D", "edgecolors": "black", "linewidths": 1.0, "zorder": 5}
_JOIN: dict[str, Any] = {"color": "0.15", "linewidth": 2.2, "zorder": 4}
_COSTS = {
    # column: (what it is, whether it is a count: then its unit follows its size)
    "params": ("Parameters", True),
    "flops": ("Multiply-adds for one image", True),
    "latency_ms": ("Latency (ms)", False),
    "complexity": ("Complexity (share of the largest network's)", False),
}
_UNITS = ((1e9, " (billions)"), (1e6, " (millions)"), (1e3, " (thousands)"))


@dataclass(frozen=True)
class _Scale:
    """What the two axes show."""

    cost: str
    cost_label: str
    divisor: float
    is_error: bool

    def cost_of(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """(n,) costs in the axis's unit."""
        return frame[self.cost].to_numpy(dtype=float) / self.divisor

    def quality_of(self, frame: pd.DataFrame, loss: str, accuracy: str) -> npt.NDArray[np.float64]:
        """(n,) errors in percent from column `accuracy`, or losses from column `loss`; lower is better."""
        if self.is_error:
            return 100 * (1 - frame[accuracy].to_numpy(dtype=float))
        return frame[loss].to_numpy(dtype=float)

    def points_of(self, frame: pd.DataFrame, loss: str, accuracy: str) -> Points:
        """(n, 2) places in the picture: cost, then error or loss."""
        return np.stack([self.cost_of(frame), self.quality_of(frame, loss, accuracy)], axis=1)

    def describe(self, quality: float) -> str:
        """An error or a loss as a label shows it."""
        return f"{quality:.1f} %" if self.is_error else f"{quality:.3g}"


def plot_pareto(run: Run, path: storage.AnyPath, *, cost: str | None = None) -> None:
    """Draw the K networks over all evaluations of the search, as a PNG.

    The vertical axis is the error where every evaluation has an accuracy, else the loss.

    Networks, joined from small to large: with the weights of the finished supernet, on all validation images; the
    label adds the error on the test images where that is known. Diamonds are the same networks trained alone, on the
    test images. Equal networks share one label. Before they are chosen: each distribution's expected cost (and loss,
    where that is drawn) at the newest update, on the axis of the driving cost.

    Evaluations: each is one subnet on one batch of validation images, with the weights of that moment. The last
    fifth, made with nearly the final weights, is dark, the others pale. The thin line is the lowest of that fifth at
    each cost. It is no promise: a minimum over noisy batches lies below what its subnets reach on all images.

    Args:
        run: The run.
        path: The PNG; its folder exists.
        cost: Column for the horizontal axis; None takes the cost that drove the search.

    Raises:
        ConfigError: There is no such column, or no evaluation succeeded yet.
    """
    scale = _scale(run, cost)
    points = scale.points_of(run.evaluations, "loss", "accuracy")
    points = points[np.isfinite(points).all(axis=1) & np.isfinite(run.evaluations["loss"].to_numpy(dtype=float))]
    if not len(points):
        raise ConfigError(f"{run.path} has no successful evaluation to draw yet: wait for the first round")
    figure, (axes,) = _figure(1)
    networks = run.architectures if scale.cost in run.architectures else run.architectures.iloc[:0]
    drawn = _draw_expectations(axes, run, scale) if networks.empty else _draw_networks(axes, networks, scale)
    front = _draw_evaluations(axes, points)
    _set_limits(axes, scale, _late(points)[:, 1], drawn)
    axes.set_xlabel(scale.cost_label)
    axes.set_ylabel("Error (%)" if scale.is_error else "Loss")
    hidden = int((points[:, 1] > axes.get_ylim()[1]).sum())
    _title(axes, _headline(run, networks), _subtitle(run, len(points), hidden))
    _legend_below(figure, axes)
    if not networks.empty:
        _label_networks(axes, networks, scale, front, points)
    _save(figure, path)


def plot_distributions(run: Run, path: storage.AnyPath) -> None:
    """Draw expected cost and entropy of each distribution over the updates, as a PNG.

    A distribution has the colour that its network has in `plot_pareto`; before the networks are chosen, they rank by
    their expected cost at the newest update. Dotted lines are the targets, where there are any.

    Args:
        run: The run.
        path: The PNG; its folder exists.

    Raises:
        ConfigError: No update was recorded yet.
    """
    if run.distributions.empty:
        raise ConfigError(f"{run.path} has no recorded update to draw yet: wait for the first flush")
    figure, (top, bottom) = _figure(2)
    cost, scale = run.driving_cost or ("complexity", 1.0)
    label, divisor = _named(cost, scale * run.distributions["expected_complexity"].to_numpy(dtype=float))
    order, names = _distributions_by_size(run)
    for number, colour in zip(order, _colours(len(order)), strict=True):
        rows = run.distributions[run.distributions["distribution"] == number]
        text = f"{rows['coefficient'].iloc[-1]:.3g}" + names.get(number, "")
        top.plot(rows["update"], rows["expected_complexity"] * (scale / divisor), color=colour, label=text)
        bottom.plot(rows["update"], rows["entropy"], color=colour, linewidth=1.2)
        target = rows["target"].iloc[-1] * (scale / divisor)
        if np.isfinite(target):
            top.axhline(target, color=colour, linestyle=":")
    top.set_ylabel(f"Expected {label[0].lower()}{label[1:]}".replace(" (", "\n(", 1))
    bottom.set_ylabel("Entropy (nats)")
    bottom.set_xlabel("Update")
    for axes in (top, bottom):
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
    _title(top, f"{len(order)} distributions in one search", f"{run.distributions['update'].max():,} updates")
    handles, texts = top.get_legend_handles_labels()
    top.legend(  # as the curves end
        handles[::-1], texts[::-1], title="Coefficient", alignment="left", fontsize=11, title_fontsize=11.5,
        loc="upper left", bbox_to_anchor=(1.01, 1.03), frameon=False,
    )  # fmt: skip
    _save(figure, path)


def _scale(run: Run, cost: str | None) -> _Scale:
    frame = run.evaluations
    if cost is None:
        cost = "complexity" if run.driving_cost is None else run.driving_cost[0]
    if cost not in frame or not pd.api.types.is_float_dtype(frame[cost]):
        numbers = [str(name) for name in frame if pd.api.types.is_float_dtype(frame[name])]
        raise ConfigError(f"the evaluations have no cost {cost!r}: choose one of {', '.join(numbers)}")
    label, divisor = _named(cost, frame[cost].to_numpy(dtype=float))
    failed = ~np.isfinite(frame["loss"].to_numpy(dtype=float))
    is_error = bool(len(frame)) and bool((frame["accuracy"].notna() | failed).all() and not failed.all())
    return _Scale(cost, label, divisor, is_error)


def _named(cost: str, values: npt.NDArray[np.float64]) -> tuple[str, float]:
    """Return an axis label with the unit that suits the values, and what to divide them by."""
    label, is_count = _COSTS.get(cost, (cost.replace("_", " "), False))
    finite = values[np.isfinite(values)]
    middle = float(np.median(finite)) if is_count and len(finite) else 0.0
    divisor, unit = next((one for one in _UNITS if middle >= one[0]), (1.0, ""))
    return label + unit, divisor


def _headline(run: Run, networks: pd.DataFrame) -> str:
    if networks.empty:
        return "A search in progress" if not run.is_finished else "All evaluations of one search"
    distinct = networks["architecture"].nunique()
    note = "" if distinct == len(networks) else f" ({distinct} different)"
    return f"{len(networks)} networks{note} from one search"


def _subtitle(run: Run, num_drawn: int, num_hidden: int) -> str:
    is_shared = not run.rounds.empty or bool(run.architectures["supernet_loss"].notna().any())
    text = f"{num_drawn:,} evaluations" + (" of subnets with shared weights" if is_shared else "")
    return text + (f", {num_hidden:,} of them above the axis" if num_hidden else "")


def _late(points: Points) -> Points:
    return points[-math.ceil(len(points) / _LATE_PART) :]


def _draw_evaluations(axes: Axes, points: Points) -> Points:
    """Draw the evaluations and return the corners of the line under the late ones."""
    late, costs = _late(points), points[:, 0]
    early = points[: -len(late)]
    axes.scatter(
        early[:, 0], early[:, 1], s=11, color=_EARLY, linewidths=0, label="evaluations, one batch each", zorder=1
    )
    axes.scatter(late[:, 0], late[:, 1], s=14, color=_LATE, linewidths=0, label="the last fifth of them", zorder=2)
    front = late[pareto_front(late[:, 1], late[:, 0])]
    corners = np.stack([np.repeat(front[:, 0], 2)[1:], np.repeat(front[:, 1], 2)[:-1]], axis=1)
    axes.plot(
        *corners.T, color=_LATE, linewidth=1.0, linestyle="--", label="lowest of the last fifth (noisy)", zorder=2
    )
    if costs.min() > 0 and costs.max() / costs.min() > _LOG_RATIO:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.6g}")
    return corners


def _draw_networks(axes: Axes, networks: pd.DataFrame, scale: _Scale) -> npt.NDArray[np.float64]:
    """Draw the networks and return their places on the vertical axis."""
    points = scale.points_of(networks, "supernet_loss", "supernet_accuracy")
    alone = scale.points_of(networks, "retrained_loss", "retrained_accuracy")
    colours = _colours(len(networks))
    axes.plot(*points.T, **_JOIN)
    # equal networks lie on each other: the later ones are drawn smaller, as rings
    sizes = _SIZE * 0.4 ** networks.groupby("architecture").cumcount().to_numpy(dtype=float)
    axes.scatter(points[:, 0], points[:, 1], s=sizes, color=colours, **_NETWORK)
    middle = colours[len(colours) // 2]
    axes.scatter([], [], s=_SIZE, color=middle, label="networks, all validation images", **_NETWORK)
    if np.isfinite(alone).all(axis=1).any():
        for start, end, colour in zip(points, alone, colours, strict=True):
            axes.plot(*np.stack([start, end]).T, color=colour, linewidth=1.4, linestyle=":", zorder=3)
        axes.scatter(alone[:, 0], alone[:, 1], color=colours, **_ALONE)
        axes.scatter([], [], color=middle, label="trained alone, test images", **_ALONE)
    return np.concatenate([points[:, 1], alone[:, 1]])


def _draw_expectations(axes: Axes, run: Run, scale: _Scale) -> npt.NDArray[np.float64]:
    """Mark where the distributions stand, while no network is chosen; their error is unknown, so it is drawn as 0."""
    name, factor = run.driving_cost or ("complexity", 1.0)
    if run.distributions.empty or scale.cost not in (name, "complexity"):
        return np.empty(0)
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    newest = newest.sort_values("expected_complexity")
    costs = newest["expected_complexity"].to_numpy() * (1.0 if scale.cost == "complexity" else factor / scale.divisor)
    losses: npt.NDArray[np.float64] = newest["expected_loss"].to_numpy(dtype=float)
    quality = np.zeros(len(newest)) if scale.is_error else losses
    label = f"expected {'costs' if scale.is_error else 'values'}, update {newest['update'].iloc[0]:,}"
    colours = _colours(len(newest))
    axes.scatter(costs, quality, s=0.6 * _SIZE, color=colours, clip_on=False, **_NETWORK)
    axes.scatter([], [], s=0.6 * _SIZE, color=colours[len(colours) // 2], label=label, **_NETWORK)
    return quality


def _label_networks(axes: Axes, networks: pd.DataFrame, scale: _Scale, front: Points, cloud: Points) -> None:
    """Write each network's number and error beside it; equal networks share one text."""
    points = scale.points_of(networks, "supernet_loss", "supernet_accuracy")
    alone = scale.points_of(networks, "retrained_loss", "retrained_accuracy")
    test = 100 * (1 - networks["supernet_test_accuracy"].to_numpy(dtype=float))
    rows, texts = [], []
    for group in networks.reset_index(drop=True).groupby("architecture", sort=False).groups.values():
        row = int(group[0])
        names = ", ".join(str(networks["rank"].iloc[int(one)]) for one in group)
        lines = [f"#{names}: {scale.describe(points[row, 1])}"]
        if scale.is_error and np.isfinite(test[row]):
            lines.append(f"test {scale.describe(test[row])}")
        if np.isfinite(alone[row]).all():
            lines.append(f"alone {scale.describe(alone[row, 1])}")
        rows.append(row)
        texts.append("\n".join(lines))
    bars = [np.stack([start, end]) for start, end in zip(points, alone, strict=True) if np.isfinite(end).all()]
    alone = alone[np.isfinite(alone).all(axis=1)]
    place_labels(axes, points[rows], texts, marks=alone, lines=[points, front, *bars], cloud=cloud)


def _set_limits(axes: Axes, scale: _Scale, late: npt.NDArray[np.float64], networks: npt.NDArray[np.float64]) -> None:
    """Show every network and most of the late evaluations."""
    shown = np.concatenate([[np.quantile(late, _SHOWN_SHARE), late.min()], networks[np.isfinite(networks)]])
    low, high = float(shown.min()), float(shown.max())
    margin = 0.08 * (high - low) or 0.5
    floor = low - 2 * margin
    axes.set_ylim(0 if scale.is_error and low < high / 2 else floor, high + margin)  # from 0 where that wastes little


def _distributions_by_size(run: Run) -> tuple[list[int], dict[int, str]]:
    """Return the distributions from the smallest network to the largest, and the name of each one's network."""
    chosen = run.architectures["distribution"]
    if len(chosen) and chosen.notna().all():
        order = [int(number) for number in chosen]
        return order, {
            number: f" (network #{rank})" for number, rank in zip(order, run.architectures["rank"], strict=True)
        }
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    return [int(number) for number in newest.sort_values("expected_complexity")["distribution"]], {}


def _colours(count: int) -> list[Any]:
    """Return warm colours from small (dark) to large (bright), also apart in grey and for the colour-blind."""
    return [colormaps["inferno"](0.28 + 0.52 * index / max(1, count - 1)) for index in range(count)]


def _title(axes: Axes, headline: str, subtitle: str) -> None:
    axes.set_title(headline, loc="left", fontsize=18, fontweight="bold", pad=30)
    axes.annotate(
        subtitle, (0, 1), xytext=(0, 10), xycoords="axes fraction", textcoords="offset points",
        fontsize=12.5, color="0.35", annotation_clip=False,
    )  # fmt: skip


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, texts = axes.get_legend_handles_labels()
    figure.legend(
        handles, texts, loc="outside lower center", ncols=math.ceil(len(texts) / 2), frameon=False,
        fontsize=11, handletextpad=0.5, columnspacing=2.0,
    )  # fmt: skip


def _figure(num_axes: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(9.6, 5.4), dpi=_DPI, layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.07, hspace=0.02))
    FigureCanvasAgg(figure)
    grid = figure.subplots(num_axes, 1, sharex=True, squeeze=False)
    axes: list[Axes] = list(grid[:, 0])
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(True, color="0.93", linewidth=0.8)
        one.set_axisbelow(True)
        one.xaxis.label.set_fontsize(12.5)
        one.yaxis.label.set_fontsize(12.5)
        one.tick_params(labelsize=11.5)
    return figure, axes


def _save(figure: Figure, path: storage.AnyPath) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=_DPI)
    storage.write_atomic(path, picture.getvalue())
