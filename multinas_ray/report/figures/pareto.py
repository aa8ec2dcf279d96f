"""The K networks over all evaluations of a search, and their test errors."""

# n evaluations, K networks; points are (n, 2): cost, then error or loss

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from multinas_ray.errors import ConfigError
from multinas_ray.report.figures.axes import Scale, error_percent, number_ticks, scale_of
from multinas_ray.report.figures.labels import Points, place_labels
from multinas_ray.report.figures.look import Look, dress, legend_below, new_figure, panel_title, picture_title
from multinas_ray.runs import PrimaryMetric, Run, nondominated, primary_metric

CLOUD = "cloud"
"""Id of the cloud of small points in a drawing; a page draws it as one path."""

_LOG_RATIO = 20  # a cost that spans more than this gets a logarithmic axis
_LATE_PART = 5  # the last evaluations, one in so many, were made with nearly the final weights
_SHOWN_SHARE = 0.95  # late evaluations below the top of the axis; the rest would squeeze the picture
_GRID = (320, 200)  # cells of the picture; of a cloud larger than this many points one of each cell is drawn
_MOST_POINTS = 6000
_FAR = 2**30  # cells beyond are not told apart; the axes end long before
_SIZE = 1.6  # a network's marker, squared fonts
_EDGE = 0.09  # the rim in the paper's colour, fonts
_INHERITED, _ALONE, _TRIALS = "networks, supernet's weights", "networks, trained alone", "configurations chosen"
_MARKERS = {_INHERITED: "o", _ALONE: "D", _TRIALS: "o"}


def pareto_figure(run: Run, networks: pd.DataFrame, look: Look, *, cost: str | None = None) -> Figure:
    """Draw the networks over all evaluations of the search and, where known, their errors on the test images.

    In the left panel the vertical axis is the error if every evaluation has an accuracy, else the loss. The networks
    are joined from small to large; they are measured with the weights of the finished supernet, on all validation
    images. Equal networks share one label. Before the networks are chosen, the panel shows the expected cost of each
    distribution (and its expected loss, if losses are drawn) at the newest update, if the axis is that of the
    complexity.

    An evaluation of a supernet is one subnet on one batch of validation images, with the weights of that moment. The
    last fifth of the evaluations, made with nearly the final weights, is dark; the others are pale. The thin line is
    the lowest value of that fifth at each cost. It is too optimistic, since a minimum over noisy batches lies below
    what the same subnets reach on all images. In a Tune search the evaluations are trials, and the line is the front
    of all of them.

    The right panel is drawn only if a test figure is known. It shows the networks on the test images or samples, with
    the supernet's weights (circles) and trained alone (diamonds), by the error, or by the primary metric where that is
    no share of the samples. The test samples were not used for any choice.

    Args:
        run: The run.
        networks: Rows of `architectures_schema`, from small to large; may be empty.
        look: Sizes and colours.
        cost: Column for the horizontal axis; None: the complexity of the search.

    Raises:
        ConfigError: There is no such column, or no evaluation has succeeded yet.
    """
    scale = scale_of(run, cost)
    points = scale.points_of(run.evaluations, "loss", "accuracy")
    points = points[np.isfinite(points).all(axis=1) & np.isfinite(run.evaluations["loss"].to_numpy(dtype=float))]
    if not len(points):
        raise ConfigError(f"{run.path} has no successful evaluation to draw yet: wait for the first round")
    networks = networks if scale.cost in networks else networks.iloc[:0]
    metric = primary_metric(run.config)
    tests = _tests_of(networks, metric)
    has_tests = bool(tests.figures)
    figure = new_figure(look, 1 + has_tests, height=_height(look, 1 + has_tests))
    panels = figure.subplots(*_grid(look, 1 + has_tests), squeeze=False, width_ratios=_ratios(look, has_tests))
    panel = panels.flat[0]
    hidden = _draw_search(panel, run, networks, scale, points, look)
    if has_tests:
        _draw_tests(panels.flat[1], networks, scale, tests, look)
    for one in panels.flat:
        _cost_axis(one, scale, look)
    if has_tests:
        panel_title(panel, look, f"Search: validation {metric.samples}")
    if look.is_picture:
        picture_title(figure, look, _headline(run, networks), _subtitle(run, len(points), hidden))
    legend_below(figure, list(panels.flat), look)
    _label_search(panel, run, networks, scale, points, look)
    if has_tests:
        _label_tests(panels.flat[1], networks, scale, tests, look)
    return figure


def _height(look: Look, num_panels: int) -> float:
    """The height in inches; this picture is the tallest of a page."""
    if look.is_picture:
        return look.panel_height
    return look.panel_height * (1.3 if look.num_columns > 1 else 1.2 * num_panels)


def _grid(look: Look, num_panels: int) -> tuple[int, int]:
    return (num_panels, 1) if look.num_columns == 1 else (1, num_panels)


def _ratios(look: Look, has_tests: bool) -> list[int]:
    return [3, 2] if has_tests and look.num_columns > 1 else [1]


class _Tests(NamedTuple):
    """What the networks reach on the test samples."""

    metric: PrimaryMetric
    figures: dict[str, npt.NDArray[np.float64]]
    """The (K,) errors in percent, or other metrics, for each kind of weights that was tested."""


def _tests_of(networks: pd.DataFrame, metric: PrimaryMetric) -> _Tests:
    columns = {_INHERITED: "supernet_test_accuracy", _ALONE: "retrained_accuracy"}
    figures = {name: error_percent(networks, column) for name, column in columns.items()}
    if not metric.is_share:
        figures = {name: 1 - error / 100 for name, error in figures.items()}
    return _Tests(metric, {name: figure for name, figure in figures.items() if np.isfinite(figure).any()})


def _draw_search(axes: Axes, run: Run, networks: pd.DataFrame, scale: Scale, points: Points, look: Look) -> int:
    """Draw evaluations and networks; returns how many evaluations lie above the axis."""
    dress(axes, look)
    if networks.empty:
        drawn = _draw_expectations(axes, run, scale, look)
    else:
        drawn = _draw_networks(axes, networks, scale, look, _TRIALS if run.kind == "tune" else _INHERITED)
    late = _late(run, points)
    _draw_evaluations(axes, points[: len(points) - len(late)], late, look)
    low, high = _limits(scale, late[:, 1], drawn)
    axes.set_ylim((low, high) if scale.sign > 0 else (high, low))  # better is below, or above where more is better
    samples = primary_metric(run.config).samples
    quality = f"Error on validation {samples} (%)" if scale.is_error else _metric_label(scale, run)
    axes.set_ylabel(quality)
    number_ticks(axes.yaxis, sign=scale.sign)
    return int((points[:, 1] > high).sum())


def _metric_label(scale: Scale, run: Run) -> str:
    if run.kind != "tune":
        return f"Loss on validation {primary_metric(run.config).samples}"
    return f"{scale.metric} ({'higher' if scale.sign < 0 else 'lower'} is better)"


def _cost_axis(axes: Axes, scale: Scale, look: Look) -> None:
    axes.set_xlabel(scale.cost_label)
    low, high = axes.dataLim.intervalx
    if low > 0 and high / low > _LOG_RATIO:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if look.num_columns > 1 else (1,)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        is_roomy = look.num_columns > 1 and axes.get_subplotspec() == axes.figure.axes[0].get_subplotspec()
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7 if is_roomy else 4, steps=[1, 2, 2.5, 5, 10]))
    number_ticks(axes.xaxis)


def _headline(run: Run, networks: pd.DataFrame) -> str:
    if networks.empty:
        return "A search in progress" if not run.is_finished else "All evaluations of one search"
    distinct = networks["architecture"].nunique()
    note = "" if distinct == len(networks) else f" ({distinct} different)"
    return f"{len(networks)} networks{note} from one search"


def _subtitle(run: Run, num_drawn: int, num_hidden: int) -> str:
    text = f"{num_drawn:,} evaluations" + ("" if run.kind == "tune" else " of subnets with shared weights")
    return text + (f", {num_hidden:,} of them above the axis" if num_hidden else "")


def _late(run: Run, points: Points) -> Points:
    """The evaluations that count: the last fifth of a one-shot search, all of a Tune search."""
    return points if run.kind == "tune" else points[-math.ceil(len(points) / _LATE_PART) :]


def _front(late: Points) -> Points:
    """The corners of the line below the late evaluations."""
    front = late[nondominated(late[:, 1], late[:, 0])]
    return np.stack([np.repeat(front[:, 0], 2)[1:], np.repeat(front[:, 1], 2)[:-1]], axis=1)


def _draw_evaluations(axes: Axes, early: Points, late: Points, look: Look) -> None:
    palette, size = look.palette, look.font
    is_all = not len(early)
    names = ("trials", "front of all trials") if is_all else ("last fifth of them", "lowest of the last fifth (noisy)")
    if not is_all:
        _scatter(axes, early, size * 0.95, palette.early, "evaluations, one batch each", 1)
    _scatter(axes, late, size * 1.2, palette.late, names[0], 2)
    axes.plot(*_front(late).T, color=palette.late, linewidth=1.0, linestyle="--", label=names[1], zorder=2)


def _scatter(axes: Axes, points: Points, size: float, colour: str, label: str, zorder: int) -> None:
    shown = _thinned(points)
    cloud = axes.scatter(shown[:, 0], shown[:, 1], s=size, color=colour, linewidths=0, label=label, zorder=zorder)
    cloud.set_gid(CLOUD)


def _thinned(points: Points) -> Points:
    """The last point of each cell of a fine grid, and the front; all points if they are few."""
    if len(points) <= _MOST_POINTS:
        return points
    shown = points[:, 1] <= np.quantile(points[:, 1], 0.995)
    low, high = points[shown].min(axis=0), points[shown].max(axis=0)
    cells = np.floor((points - low) / np.maximum(high - low, 1e-300) * np.array(_GRID)).astype(np.int64)
    across, up = (np.clip(cells[::-1], -_FAR, _FAR)).T
    _, last = np.unique(across * (2 * _FAR + 1) + up, return_index=True)  # as one number: thrice as fast as by rows
    kept = np.union1d(len(points) - 1 - last, nondominated(points[:, 1], points[:, 0]))
    return points[kept]


def _draw_networks(axes: Axes, networks: pd.DataFrame, scale: Scale, look: Look, label: str) -> npt.NDArray[np.float64]:
    """Draw the networks; returns their positions on the vertical axis."""
    points = scale.points_of(networks, "supernet_loss", "supernet_accuracy")
    _mark(axes, points, networks, look, label=label)
    axes.plot(*points[np.isfinite(points).all(axis=1)].T, color=look.palette.ink, linewidth=1.6, zorder=4)
    return points[:, 1]


def _draw_tests(axes: Axes, networks: pd.DataFrame, scale: Scale, tests: _Tests, look: Look) -> None:
    """Draw the figures of each network on the test samples, with one mark for each kind of weights."""
    metric = tests.metric
    dress(axes, look)
    panel_title(axes, look, f"Test {metric.samples}")
    costs = scale.cost_of(networks)
    if len(tests.figures) == 2:
        for cost, start, end, colour in zip(
            costs, *tests.figures.values(), look.network_colours(len(networks)), strict=True
        ):
            axes.plot([cost, cost], [start, end], color=colour, linewidth=1.4, linestyle=":", zorder=3)
    for name, errors in tests.figures.items():
        _mark(axes, np.stack([costs, errors], axis=1), networks, look, label=name)
    final = list(tests.figures.values())[-1]
    known = np.isfinite(final)
    axes.plot(costs[known], final[known], color=look.palette.ink, linewidth=1.6, zorder=4)
    values = np.concatenate(list(tests.figures.values()))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.2 * (high - low) or (0.5 if metric.is_share else 0.1 * abs(high) or 0.5)
    least = low - 1.5 * margin
    axes.set_ylim(max(0.0, least) if metric.is_share else least, high + margin)
    axes.margins(x=0.12)
    axes.set_ylabel(f"{'Error' if metric.is_share else metric.name} on test {metric.samples}{' (%)' * metric.is_share}")
    number_ticks(axes.yaxis)


def _mark(axes: Axes, points: Points, networks: pd.DataFrame, look: Look, *, label: str) -> None:
    """Draw one mark for each network, and one in the middle colour for the legend."""
    colours = look.network_colours(len(networks))
    size = _SIZE * look.font**2 * (0.5 if label == _ALONE else 1.0)
    # equal networks lie on each other: the later ones are drawn smaller, as rings
    sizes = size * 0.4 ** networks.groupby("architecture").cumcount().to_numpy(dtype=float)
    style: dict[str, Any] = {
        "marker": _MARKERS[label],
        "edgecolors": look.palette.paper,
        "linewidths": _EDGE * look.font,
        "zorder": 5,
    }
    axes.scatter(points[:, 0], points[:, 1], s=sizes, color=colours, **style)
    axes.scatter([], [], s=size, color=colours[len(colours) // 2], label=label, **style)


def _draw_expectations(axes: Axes, run: Run, scale: Scale, look: Look) -> npt.NDArray[np.float64]:
    """Mark the distributions as long as no network is chosen. Their error is unknown, so it is drawn as 0."""
    name, factor = run.complexity_cost or ("complexity", 1.0)
    if run.distributions.empty or scale.cost not in (name, "complexity"):
        return np.empty(0)
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    newest = newest.sort_values("expected_complexity")
    costs = newest["expected_complexity"].to_numpy() * (1.0 if scale.cost == "complexity" else factor / scale.divisor)
    losses: npt.NDArray[np.float64] = newest["expected_loss"].to_numpy(dtype=float)
    quality = np.zeros(len(newest)) if scale.is_error else losses
    label = f"expected {'costs' if scale.is_error else 'values'}, update {newest['update'].iloc[0]:,}"
    colours = look.network_colours(len(newest))
    style: dict[str, Any] = {"edgecolors": look.palette.paper, "linewidths": _EDGE * look.font, "zorder": 5}
    size = 0.6 * _SIZE * look.font**2
    axes.scatter(costs, quality, s=size, color=colours, clip_on=False, **style)
    axes.scatter([], [], s=size, color=colours[len(colours) // 2], label=label, **style)
    return quality


def _label_search(axes: Axes, run: Run, networks: pd.DataFrame, scale: Scale, points: Points, look: Look) -> None:
    """Write the number and the error of each network beside it; equal networks share one text."""
    if networks.empty:
        return
    places = scale.points_of(networks, "supernet_loss", "supernet_accuracy")
    rows, texts = [], []
    for row, names in _groups(networks):
        rows.append(row)
        texts.append(names if look.num_columns == 1 else f"{names}: {scale.describe(places[row, 1])}")
    lines = [places, _front(_late(run, points))]
    place_labels(axes, places[rows], texts, look=look, lines=lines, cloud=_thinned(points))


def _label_tests(axes: Axes, networks: pd.DataFrame, scale: Scale, tests: _Tests, look: Look) -> None:
    costs = scale.cost_of(networks)
    places = {name: np.stack([costs, errors], axis=1) for name, errors in tests.figures.items()}
    final = list(places.values())[-1]
    rows, texts = [], []
    for row, names in _groups(networks):
        rows.append(row)
        texts.append(names if look.num_columns == 1 else f"{names}: {_told(final[row, 1], tests.metric)}")
    bars = [np.stack(pair) for pair in zip(*places.values(), strict=True)] if len(places) == 2 else []
    bars = [bar for bar in bars if np.isfinite(bar).all()]
    marks = np.concatenate(list(places.values()))
    marks = marks[np.isfinite(marks).all(axis=1)]
    lines = [final[np.isfinite(final).all(axis=1)], *bars]
    place_labels(axes, final[rows], texts, look=look, marks=marks, lines=lines)


def _told(figure: float, metric: PrimaryMetric) -> str:
    return f"{figure:.1f} %" if metric.is_share else f"{figure:.3g}"


def _groups(networks: pd.DataFrame) -> list[tuple[int, str]]:
    """The row of each distinct network, and the numbers of all networks that equal it."""
    groups = networks.reset_index(drop=True).groupby("architecture", sort=False).groups.values()
    return [
        (int(group[0]), "#" + ", ".join(str(networks["network"].iloc[int(one)]) for one in group)) for group in groups
    ]


def _limits(scale: Scale, late: npt.NDArray[np.float64], networks: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The limits of the vertical axis, so that it shows every network and most of the late evaluations."""
    shown = np.concatenate([[np.quantile(late, _SHOWN_SHARE), late.min()], networks[np.isfinite(networks)]])
    low, high = float(shown.min()), float(shown.max())
    margin = 0.08 * (high - low) or 0.5
    floor = low - 2 * margin
    return (0.0 if scale.is_error and low < high / 2 else floor), high + margin  # from 0 where that wastes little
