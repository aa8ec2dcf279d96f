"""The comparison as pictures: the part of the front found, and the quality of the K answers, against evaluations."""

# E evaluations, S seeds
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.typing import LineStyleType

from experiments.parts import pictures
from experiments.parts.tables import Table
from experiments.tabular.measures import first_at
from experiments.tabular.methods import METHODS
from experiments.tabular.report import ANSWERS, GOAL_RATIO, INTERVAL, LEVEL, SEPARATE, separate_finals
from multinas_ray.spaces import FloatArray

LINES: dict[str, tuple[str, LineStyleType]] = {
    "multinas": (pictures.SKY_BLUE, "--"),
    "multinas-reuse": (pictures.BLUE, "-"),
    "multinas-screened": (pictures.BLACK, "-"),
    "separate-asng": (pictures.PURPLE, "-."),
    "pymoo-nsga2": (pictures.VERMILION, "-"),
    "optuna-nsga2": (pictures.ORANGE, "--"),
    "optuna-tpe": (pictures.GREEN, "-."),
    "optuna-gp": (pictures.GREEN, ":"),
    "gsemo": (pictures.VERMILION, ":"),
    "random": (pictures.GREY, ":"),
}
"""Colour and style of each method's line."""
TICKS = [20, 50, 100, 200, 500, 1000, 2000, 5000]
ANSWER_TITLES = {"modes_share": "Modes", "chosen_share": "Best evaluated by each $f_k$"}


def plot_curves(searches: pd.DataFrame, tables: Sequence[Table], path: Path) -> None:
    """Draws the missing part of the front's hypervolume after each evaluation, a panel per table, as a PNG."""
    figure = pictures.new_figure(6.2 * len(tables), 5.4)
    panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for axes, table in zip(panels, tables, strict=True):
        of_table = searches[searches["table"] == table.name]
        length = int(of_table["evaluation"].max())
        for method, of_method in of_table.groupby("method", sort=False):
            missing_SE = 100.0 * (1.0 - _curves(of_method, "archive_share", length))
            _draw_method(axes, str(method), np.maximum(missing_SE, 1e-3))
        _scale_evaluations(axes, length)
        axes.set(yscale="log", ylim=(0.02, 40), title=table.title)
        axes.yaxis.set_major_locator(FixedLocator([0.02, 0.1, 0.5, 1, 5, 10, 20]))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.axhline(100 * (1 - LEVEL), color="0.3", linewidth=0.8)
        axes.annotate("99 % found", (20, 100 * (1 - LEVEL)), xytext=(4, -11), textcoords="offset points", color="0.3")
    panels[0].set_ylabel("Hypervolume still missing (% of the exact front's)")
    _add_legend(figure, list(searches["method"].unique()))
    pictures.save_figure(figure, path)


def plot_answers(searches: pd.DataFrame, tables: Sequence[Table], path: Path) -> bool:
    """Draws the K answers' hypervolume as a share of the separate runs' final one, as a PNG.

    There is a row for each kind of answer and a column for each table. A line marks 99 %, a dot marks where a method
    first reaches it (the median over the seeds), and a dashed line marks a quarter of the separate runs' evaluations.

    Returns:
        Whether there were separate runs to compare with; nothing is written if not.
    """
    shown = searches[searches["method"].isin([name for name in METHODS if _has_answers(name)])]
    if SEPARATE not in set(shown["method"]):
        return False
    figure = pictures.new_figure(6.2 * len(tables), 8.4)
    panels = figure.subplots(len(ANSWERS), len(tables), squeeze=False, sharey="row", sharex="col")
    for row, column in enumerate(ANSWERS):
        for axes, table in zip(panels[row], tables, strict=True):
            _draw_answers(axes, shown[shown["table"] == table.name], column)
            axes.set_title(f"{ANSWER_TITLES[column]}\n{table.title}", fontsize=10)
        panels[row, 0].set_ylabel("Hypervolume (% of the separate runs' final one)")
    _add_legend(figure, list(shown["method"].unique()))
    pictures.save_figure(figure, path)
    return True


def _has_answers(method: str) -> bool:
    return method == SEPARATE or method.startswith("multinas")


def _draw_answers(axes: Axes, of_table: pd.DataFrame, column: str) -> None:
    """One kind of answer on one table."""
    final, length = separate_finals(of_table)[column], int(of_table["evaluation"].max())
    for method, of_method in of_table.groupby("method", sort=False):
        shares_SE = _curves(of_method, column, length) / final
        _draw_method(axes, str(method), 100.0 * shares_SE)
        first = _median_first(shares_SE)
        if np.isfinite(first):
            axes.plot([first], [100 * LEVEL], marker="o", markersize=7, color=LINES[str(method)][0], zorder=5)
        if method == SEPARATE and np.isfinite(first):
            axes.axvline(GOAL_RATIO * first, color="0.3", linewidth=0.8, linestyle="--")
            axes.annotate(
                "a quarter of theirs",
                (GOAL_RATIO * first, 90),
                xytext=(-10, 6),
                textcoords="offset points",
                color="0.3",
                fontsize=8,
                rotation=90,
            )
    axes.axhline(100 * LEVEL, color="0.3", linewidth=0.8)
    _scale_evaluations(axes, length)
    axes.set_ylim(90, None)


def _median_first(shares_SE: FloatArray) -> float:
    """Number of evaluations after which the median seed first reaches LEVEL."""
    return float(np.quantile([first_at(share_E, LEVEL) for share_E in shares_SE], 0.5, method="inverted_cdf"))


def _curves(of_method: pd.DataFrame, column: str, length: int) -> FloatArray:
    """Returns (S, E) of a column; a search that ended early keeps its last value."""
    shares = [search[column].to_numpy() for _, search in of_method.groupby("seed")]
    return np.array([np.pad(share_E, (0, length - len(share_E)), mode="edge") for share_E in shares])


def _draw_method(axes: Axes, method: str, values_SE: FloatArray) -> None:
    """Draw a median with the band of 90 % of the seeds."""
    color, style = LINES[method]
    low, median, high = np.quantile(values_SE, INTERVAL, axis=0, method="inverted_cdf")
    steps = np.arange(1, len(median) + 1)
    axes.fill_between(steps, low, high, color=color, alpha=0.08, linewidth=0)
    axes.plot(steps, median, linewidth=2, color=color, linestyle=style)


def _scale_evaluations(axes: Axes, length: int) -> None:
    """Set up the axis of evaluations, with ticks as plain numbers."""
    axes.set(xscale="log", xlim=(20, max(length, 50)))
    axes.set_xlabel("Distinct architectures evaluated")
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    pictures.plain_frame(axes)


def _add_legend(figure: Figure, methods: Sequence[str]) -> None:
    lines = [Line2D([], [], linewidth=2, color=LINES[name][0], linestyle=LINES[name][1]) for name in methods]
    figure.legend(lines, [METHODS[name].title for name in methods], loc="outside lower center", ncols=4, frameon=False)
