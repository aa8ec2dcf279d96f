"""Curves: how the distributions converged, and how the chosen networks were trained."""

# K distributions or networks, U updates

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from multinas_ray.core import small_to_large
from multinas_ray.errors import ConfigError
from multinas_ray.report.figures.axes import cost_axis, metric_sign, number_ticks
from multinas_ray.report.figures.look import Look, dress, new_figure, settle
from multinas_ray.report.goals import goal_of
from multinas_ray.runs import Run

MOST_DRAWN = 400
"""Points of one curve. Of a longer curve every n-th point and the last one are drawn."""

NOISY = ("expected_loss", "effective_sample_size")
"""Quantities that are estimated from the samples of one update. They are drawn pale, with their moving mean on top."""

_SMOOTHED_PARTS = 25  # a moving mean spans about one part in so many of the updates
_MOST_LABELS = 16  # of more curves, only the first and the last are labelled
_GAP = 1.1  # distance of two labels, in font sizes


@dataclass(frozen=True)
class Curve:
    """One line of a panel."""

    label: str
    colour: str
    x: npt.NDArray[np.float64]
    y: npt.NDArray[np.float64]
    style: str = "-"


QUANTITIES = {
    "expected_loss": "Expected loss",
    "expected_complexity": "Expected complexity",
    "entropy": "Entropy (nats)",
    "effective_sample_size": "Effective sample size\n(evaluations)",
}
"""The quantities that are drawn, with their axis labels; that of the complexity depends on the run."""


def distributions_by_size(run: Run, networks: pd.DataFrame) -> dict[int, str]:
    """The names of the distributions, from the smallest network to the largest.

    A distribution is named after the network that it led to (#0, #1, ...). Before the networks are chosen, it is named
    by the network that it is to find (#0, ...), or as goal 0, ... if the networks are others.
    """
    chosen = networks["distribution"] if "distribution" in networks else pd.Series(dtype=float)
    known = set(run.distributions["distribution"].tolist())
    if len(chosen) and chosen.notna().all() and chosen.is_unique and set(chosen.astype(int)) == known:
        return {int(number): f"#{network}" for number, network in zip(chosen, networks["network"], strict=True)}
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    newest = newest.sort_values("distribution")
    order = small_to_large(newest["coefficient"], newest["target"].astype(float))
    name = "goal " if len(networks) else "#"
    return {int(newest["distribution"].iloc[k]): f"{name}{place}" for place, k in enumerate(order)}


def convergence_figure(
    run: Run, networks: pd.DataFrame, look: Look, *, quantities: Sequence[str] = tuple(QUANTITIES)
) -> Figure:
    """Draw how the distributions moved over the updates, with one panel for each quantity.

    A distribution has the colour of its network in the Pareto picture. Dotted lines are the targets, if there are any.

    Args:
        run: The run.
        networks: Rows of `architectures_schema`, from small to large; may be empty.
        look: Sizes and colours. A picture has a legend of the goals; on a page the ends of the lines are labelled.
        quantities: Some of `QUANTITIES`.

    Raises:
        ConfigError: No update is recorded yet.
    """
    if run.distributions.empty:
        raise ConfigError(f"{run.path} has no recorded update to draw yet: wait for the first one")
    figure = new_figure(look, len(quantities), stacked=look.is_picture)
    num_columns = 1 if look.is_picture else look.num_columns
    grid = figure.subplots(-(-len(quantities) // num_columns), num_columns, sharex=True, squeeze=False)
    panels = list(grid.flat)
    for axes, quantity in zip(panels, quantities, strict=True):
        _draw_quantity(axes, run, networks, quantity, look)
        axes.xaxis.label.set_visible(axes.get_subplotspec().is_last_row())
    if look.is_picture:
        _goal_legend(panels[0], run, look)
    else:
        label_ends(panels, look)
    return figure


def _draw_quantity(axes: Axes, run: Run, networks: pd.DataFrame, quantity: str, look: Look) -> None:
    label, factor = _axis_of(run, quantity)
    order = distributions_by_size(run, networks)
    curves, targets = [], []
    for (number, name), colour in zip(order.items(), look.network_colours(len(order)), strict=True):
        rows = run.distributions[run.distributions["distribution"] == number]
        values = rows[quantity].to_numpy(dtype=float) * factor
        curves.append(Curve(name, colour, rows["update"].to_numpy(dtype=float), values))
        targets.append(float(rows["target"].iloc[-1]) * factor if quantity == "expected_complexity" else np.nan)
    window = smoothing_window(run) if quantity in NOISY else 1
    draw_curves(axes, _smoothed(axes, curves, window) if window > 1 else curves, look)
    for target, curve in zip(targets, curves, strict=True):
        if np.isfinite(target):
            axes.axhline(target, color=curve.colour, linestyle=":")
    axes.set_xlabel("Update")
    axes.set_ylabel(label)
    if quantity != "expected_loss":  # the zero of a loss has no meaning
        axes.set_ylim(bottom=0)


def _axis_of(run: Run, quantity: str) -> tuple[str, float]:
    """The label of a quantity's axis, and what recorded values are multiplied by."""
    if quantity == "expected_complexity":
        return _complexity_axis(run)
    if quantity == "expected_loss" and run.kind == "tune":
        return f"Expected {run.config['metric']}", metric_sign(run)
    return QUANTITIES[quantity], 1.0


def _smoothed(axes: Axes, curves: Sequence[Curve], window: int) -> list[Curve]:
    """Draw noisy curves faintly, and return their moving means."""
    for curve in curves:
        kept = _kept(len(curve.x))
        axes.plot(curve.x[kept], curve.y[kept], color=curve.colour, linewidth=0.7, alpha=0.25, zorder=1)
    return [dataclasses.replace(curve, y=_moving_mean(curve.y, window)) for curve in curves]


def smoothing_window(run: Run) -> int:
    """The number of updates over which noisy quantities are averaged; it is odd, and 1 means no averaging."""
    return 2 * (run.distributions["update"].nunique() // (2 * _SMOOTHED_PARTS)) + 1


def _moving_mean(values: npt.NDArray[np.float64], window: int) -> npt.NDArray[np.float64]:
    """The mean of the finite values around each place; the window is narrower at the ends."""
    finite = np.isfinite(values)
    places = np.arange(len(values))
    first, last = np.maximum(places - window // 2, 0), np.minimum(places + window // 2 + 1, len(values))
    counts = np.concatenate([[0], np.cumsum(finite)])
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    number = counts[last] - counts[first]
    return np.where(number > 0, (sums[last] - sums[first]) / np.maximum(number, 1), np.nan)


def _complexity_axis(run: Run) -> tuple[str, float]:
    """The axis label of the expected complexity, and the factor from the recorded value to its unit."""
    cost, scale = run.complexity_cost or ("complexity", 1.0)
    label, divisor = cost_axis(cost, scale * run.distributions["expected_complexity"].to_numpy(dtype=float))
    return f"Expected {label[0].lower()}{label[1:]}".replace(" (", "\n(", 1), scale / divisor


def _goal_legend(axes: Axes, run: Run, look: Look) -> None:
    newest = run.distributions.drop_duplicates("distribution", keep="last").set_index("distribution")
    handles, names = axes.get_legend_handles_labels()
    order = distributions_by_size(run, run.architectures)
    notes = [f" (network {name})" if name.startswith("#") else "" for name in names]
    goals = [goal_of(run, newest.loc[number]) for number in order]
    texts = [f"{value}{note}" for (_, value), note in zip(goals, notes, strict=True)]
    axes.legend(  # as the curves end
        handles[::-1], texts[::-1], title=goals[0][0].capitalize(), alignment="left", fontsize=look.font * 0.96,
        title_fontsize=look.font, loc="upper left", bbox_to_anchor=(1.01, 1.03), frameon=False,
    )  # fmt: skip


def training_figure(training: Mapping[int, pd.DataFrame], numbers: Sequence[int], look: Look) -> Figure:
    """Draw how the chosen networks were retrained, with a panel for each quantity that is known.

    Args:
        training: The epochs of each network by its number, with a column `epoch` and further ones.
        numbers: The numbers of all networks of the family, from small to large, which decide the colours.
        look: Sizes and colours.

    Raises:
        ConfigError: No quantity is known, see `is_training_known`.
    """
    panels = {label: columns for label, columns in _TRAINING.items() if _is_known(training, columns)}
    if not panels:
        raise ConfigError("no network has been retrained yet: run `multinas-ray retrain` first")
    figure = new_figure(look, len(panels))
    num_columns = min(look.num_columns, len(panels))
    grid = list(figure.subplots(-(-len(panels) // num_columns), num_columns, squeeze=False).flat)
    colours = dict(zip(numbers, look.network_colours(len(numbers)), strict=True))
    for axes, (label, columns) in zip(grid, panels.items(), strict=False):
        curves = [
            Curve(f"#{network}", colours[network], _floats(frame, "epoch"), _floats(frame, column), style)
            for network, frame in training.items()
            for column, style in columns.items()
            if column in frame
        ]
        draw_curves(axes, curves, look)
        axes.set_xlabel("Epoch")
        axes.set_ylabel(label)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    label_ends(grid[: len(panels)], look)
    return figure


def is_training_known(training: Mapping[int, pd.DataFrame]) -> bool:
    """Whether there is something for `training_figure` to draw."""
    return any(_is_known(training, columns) for columns in _TRAINING.values())


_TRAINING = {
    "Training loss": {"train_loss": "-"},
    "Validation loss": {"validation_loss": "-"},
    "Validation metric": {"validation_accuracy": "-"},
    "Learning rate": {"learning_rate": "-"},
}


def _is_known(training: Mapping[int, pd.DataFrame], columns: Mapping[str, str]) -> bool:
    return any(
        column in frame and np.isfinite(_floats(frame, column)).any()
        for frame in training.values()
        for column in columns
    )


def _floats(frame: pd.DataFrame, column: str) -> npt.NDArray[np.float64]:
    return frame[column].to_numpy(dtype=np.float64)


def draw_curves(axes: Axes, curves: Sequence[Curve], look: Look) -> None:
    """Draw lines; those with more points than can be seen are thinned."""
    dress(axes, look)
    for curve in curves:
        kept = _kept(len(curve.x))
        width = 1.4 if look.is_picture else 1.2
        axes.plot(curve.x[kept], curve.y[kept], curve.style, color=curve.colour, linewidth=width, label=curve.label)
    axes.margins(x=0.01)
    number_ticks(axes.xaxis)
    number_ticks(axes.yaxis)


def _kept(length: int) -> npt.NDArray[np.int64]:
    stride = max(1, -(-length // MOST_DRAWN))
    return np.unique(np.append(np.arange(0, length, stride), np.arange(max(0, length - 1), length)))


def label_ends(panels: Sequence[Axes], look: Look) -> None:
    """Write the name of each line beside its right end, without overlaps, and join them by a short line."""
    settle(panels[0])
    for axes in panels:
        lines = [line for line in axes.get_lines() if not str(line.get_label()).startswith("_")]
        lines = [line for line in lines if np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any()]
        if len(lines) > _MOST_LABELS:
            lines = [lines[0], lines[-1]]
        ends = np.array([_end(np.asarray(line.get_xydata(), dtype=float)) for line in lines]).reshape(-1, 2)
        frame = axes.get_window_extent()
        points = 72 / axes.figure.dpi
        heights = (axes.transData.transform(ends)[:, 1] - frame.y0) * points if len(ends) else np.empty(0)
        step = 1 / (frame.width * points)  # one point, as a share of the width
        for line, height, place in zip(
            lines, heights, _spread(heights, _GAP * look.font, frame.height * points), strict=True
        ):
            start, end = float(height), float(place)
            shares = [start / (frame.height * points), end / (frame.height * points)]
            leader = Line2D([1, 1 + 11 * step], shares, color=line.get_color(), linewidth=1.2, transform=axes.transAxes)
            leader.set_clip_on(False)
            axes.add_artist(leader)
            axes.text(
                1 + 13 * step, shares[1], str(line.get_label()), va="center", fontsize=look.font, fontweight="bold",
                color=look.palette.ink, transform=axes.transAxes,
            )  # fmt: skip


def _end(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    last: npt.NDArray[np.float64] = points[np.isfinite(points).all(axis=1)][-1]
    return last


def _spread(heights: npt.NDArray[np.float64], gap: float, most: float) -> npt.NDArray[np.float64]:
    """Move heights apart so that they keep their order and have the gap, as little as possible, within 0 to `most`."""
    order = np.argsort(heights, kind="stable")
    groups: list[list[float]] = []  # (sum of the first heights, number): adjacent groups that collide are joined
    for index, height in enumerate(heights[order].tolist()):
        groups.append([height - index * gap, 1])
        while len(groups) > 1 and groups[-2][0] / groups[-2][1] > groups[-1][0] / groups[-1][1]:
            total, number = groups.pop()
            groups[-1][0] += total
            groups[-1][1] += number
    first = np.repeat([total / number for total, number in groups], [int(number) for _, number in groups])
    room = most - gap * (len(heights) - 1)
    spread = np.empty_like(heights)
    spread[order] = np.clip(first, min(0.0, room), max(0.0, room)) + gap * np.arange(len(heights))
    return spread
