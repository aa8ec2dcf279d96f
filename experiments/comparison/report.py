"""What the searches gave: summary, tables for the terminal, goals and the picture."""

# E evaluations, S seeds

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from rich.table import Table as RichTable

from comparison.measures import Measures, first_at
from comparison.methods import METHODS
from comparison.tables import FloatArray, Table

LEVEL = 0.99
POINTS = (400, 1000)
"""After how many evaluations the answers are compared."""
ANSWERS = ("modes_share", "chosen_share")
INTERVAL = (0.05, 0.5, 0.95)
GOAL_EVALUATIONS = {"nasbench201": 220, "macro": 350}
GOAL_ANSWERS = 0.985
GOAL_RATIO = 0.25
# Okabe and Ito's colours, told apart by the colour-blind; the line's style tells them apart without colour
STYLES: dict[str, dict[str, Any]] = {
    "multinas": {"color": "#56B4E9", "linestyle": "--"},
    "multinas-reuse": {"color": "#0072B2", "linestyle": "-"},
    "multinas-screened": {"color": "#000000", "linestyle": "-"},
    "separate-asng": {"color": "#CC79A7", "linestyle": "-."},
    "pymoo-nsga2": {"color": "#D55E00", "linestyle": "-"},
    "optuna-nsga2": {"color": "#E69F00", "linestyle": "--"},
    "optuna-tpe": {"color": "#009E73", "linestyle": "-."},
    "random": {"color": "#7F7F7F", "linestyle": ":"},
}


def summarise(searches: pd.DataFrame, tables: Sequence[Table]) -> pd.DataFrame:
    """Returns a row per table, method and measure: `median`, `low` and `high` (5 % and 95 % of the seeds), `seeds`.

    Quantiles are values that a seed had (no interpolation), so that "never" is infinite. A search that ended early
    keeps its last value. Measures: `evaluations_to_99`; `archive_400`, `best8_400`, `modes_400`, `chosen_400` and so
    on for each of POINTS; `modes_evaluations`, `chosen_evaluations`: evaluations until these answers have 99 % of
    what those of the separate runs have at their end (median of the seeds), if the separate runs are there.
    """
    rows = []
    for table in tables:
        measures, of_table = Measures(table), searches[searches["table"] == table.name]
        levels = _separate_levels(of_table)
        points = [count for count in POINTS if count <= of_table["evaluation"].max()]
        for method, of_method in of_table.groupby("method", sort=False):
            values = [_measure(search, measures, levels, points) for _, search in of_method.groupby("seed")]
            for name in values[0]:
                low, median, high = np.quantile([value[name] for value in values], INTERVAL, method="inverted_cdf")
                rows.append((table.name, method, name, median, low, high, len(values)))
    return pd.DataFrame(rows, columns=["table", "method", "measure", "median", "low", "high", "seeds"])


def summary_table(summary: pd.DataFrame, table: Table, share: float) -> RichTable:
    """Medians and 90 % intervals over the seeds of one table; `share` is what the best 8 of its front have."""
    rich = RichTable(
        title=f"{table.title}\nmedian over seeds (5 % to 95 %); the best 8 points of the front have {share:.3f} of it",
        title_justify="left",
        caption="best 8: of the archive, exact. modes, f_k: of the K distributions. In % of the front's best 8.",
        caption_justify="left",
    )
    rich.add_column("method")
    columns: list[tuple[str, str, Callable[[float], str]]] = [("evaluations to 99 %", "evaluations_to_99", _count)]
    points = [count for count in POINTS if f"best8_{count}" in set(summary["measure"])]
    for count in points:
        columns += [(f"{name}\nafter {count:,}", f"{key}_{count}", _percent) for name, key in _ANSWER_COLUMNS]
    for title, _, _ in columns:
        rich.add_column(title, justify="right")
    of_table = summary[summary["table"] == table.name]
    for method in of_table["method"].unique():
        of_method = of_table[of_table["method"] == method].set_index("measure")
        cells = [_cell(of_method, key, form) for _, key, form in columns]
        rich.add_row(METHODS[method].title, *cells)
    return rich


def goal_table(summary: pd.DataFrame) -> RichTable:
    """The goals, for each of this method's variants."""
    rich = RichTable(title="Goals (medians)", title_justify="left")
    for name in ("table", "method", "goal", "reached", "met"):
        rich.add_column(name)
    keys = zip(summary["table"], summary["method"], summary["measure"], strict=True)
    values = dict(zip(keys, summary["median"], strict=True))
    for table, method in summary[["table", "method"]].drop_duplicates().itertuples(index=False):
        if method.startswith("multinas"):
            for goal, reached, met in _goals(values, table, method):
                rich.add_row(table, METHODS[method].title, goal, reached, "yes" if met else "no")
    return rich


def plot_curves(searches: pd.DataFrame, tables: Sequence[Table], path: Path) -> None:
    """Draws how much of the front's hypervolume is missing after each evaluation, a panel per table, as a PNG."""
    figure = Figure(figsize=(6.2 * len(tables), 5.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for axes, table in zip(panels, tables, strict=True):
        of_table = searches[searches["table"] == table.name]
        for method, of_method in of_table.groupby("method", sort=False):
            _draw_method(axes, str(method), _curves(of_method, int(of_table["evaluation"].max())))
        _finish_axes(axes, table.title, max(int(of_table["evaluation"].max()), 50))
    panels[0].set_ylabel("Hypervolume still missing (% of the exact front's)")
    shown = list(searches["method"].unique())
    lines = [Line2D([], [], linewidth=2, **STYLES[name]) for name in shown]
    figure.legend(lines, [METHODS[name].title for name in shown], loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path)


_ANSWER_COLUMNS = (("best 8", "best8"), ("modes", "modes"), ("f_k", "chosen"))


def _measure(
    search: pd.DataFrame, measures: Measures, levels: dict[str, float], points: Sequence[int]
) -> dict[str, float]:
    """Returns one search's measures by name."""
    rows, archive = search["architecture"].to_numpy(), search["archive_share"].to_numpy()
    values = {"evaluations_to_99": first_at(archive, LEVEL)}
    for count in points:
        last = min(count, len(search)) - 1
        values[f"archive_{count}"] = float(archive[last])
        values[f"best8_{count}"] = measures.best_subset_share(rows[: last + 1])
        for column in ANSWERS:
            values[f"{column.removesuffix('_share')}_{count}"] = float(search[column].iloc[last])
    for column, level in levels.items():
        values[f"{column.removesuffix('_share')}_evaluations"] = first_at(search[column].to_numpy(), level)
    return values


def _separate_levels(of_table: pd.DataFrame) -> dict[str, float]:
    """99 % of what the separate runs' answers have at their end, by column."""
    finals = of_table[of_table["method"] == "separate-asng"].groupby("seed").last()
    return {} if finals.empty else {column: LEVEL * float(finals[column].median()) for column in ANSWERS}


def _goals(values: dict[tuple[str, str, str], float], table: str, method: str) -> list[tuple[str, str, bool]]:
    """Returns (goal, what was reached, whether that meets it)."""
    ours = values[table, method, "evaluations_to_99"]
    goals = []
    if table in GOAL_EVALUATIONS:
        wanted = GOAL_EVALUATIONS[table]
        goals.append((f"99 % within {wanted} evaluations", _count(ours), ours <= wanted))
    peer = values.get((table, "pymoo-nsga2", "evaluations_to_99"), np.nan)
    if np.isfinite(peer):
        goals.append((f"99 % within half of pymoo's NSGA-II's {peer:.0f}", f"{ours / peer:.2f}", ours <= peer / 2))
    for name, key in _ANSWER_COLUMNS:
        share = values.get((table, method, f"{key}_1000"))
        if share is not None:
            goals.append((f"{name} after 1,000: {100 * GOAL_ANSWERS:.1f} %", _percent(share), share >= GOAL_ANSWERS))
    for kind in ("modes", "chosen"):
        name = f"{kind}_evaluations"
        theirs = values.get((table, "separate-asng", name), np.nan)
        if np.isfinite(theirs):
            ratio = values[table, method, name] / theirs
            reached = f"{_count(values[table, method, name])} of {theirs:.0f}: {ratio:.2f}"
            goals.append((f"{kind}: a quarter of 8 separate runs' evaluations", reached, ratio <= GOAL_RATIO))
    return goals


def _cell(of_method: pd.DataFrame, measure: str, form: Callable[[float], str]) -> str:
    median, low, high = (float(of_method[name].loc[measure]) for name in ("median", "low", "high"))
    return "" if np.isnan(median) else f"{form(median)}\n({form(low)} to {form(high)})"


def _count(value: float) -> str:
    return f"{value:.0f}" if np.isfinite(value) else "never"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _curves(of_method: pd.DataFrame, length: int) -> FloatArray:
    """Returns (S, E): percent of the hypervolume missing; a search that ended early keeps its last value."""
    shares = [search["archive_share"].to_numpy() for _, search in of_method.groupby("seed")]
    padded = [np.pad(share_E, (0, length - len(share_E)), mode="edge") for share_E in shares]
    return 100.0 * (1.0 - np.array(padded))


def _draw_method(axes: Axes, method: str, missing_SE: FloatArray) -> None:
    """A median with the band of 90 % of the seeds."""
    style = STYLES[method]
    low, median, high = np.quantile(np.maximum(missing_SE, 1e-3), INTERVAL, axis=0, method="inverted_cdf")
    steps = np.arange(1, len(median) + 1)
    axes.fill_between(steps, low, high, color=style["color"], alpha=0.08, linewidth=0)
    axes.plot(steps, median, linewidth=2, **style)


def _finish_axes(axes: Axes, title: str, length: int) -> None:
    """Scales, ticks in plain numbers and the line of 99 %."""
    axes.set(xscale="log", yscale="log", xlim=(20, length), ylim=(0.02, 40), title=title)
    axes.set_xlabel("Distinct architectures evaluated")
    axes.xaxis.set_major_locator(FixedLocator([20, 50, 100, 200, 500, 1000, 2000, 5000]))
    axes.yaxis.set_major_locator(FixedLocator([0.02, 0.1, 0.5, 1, 5, 10, 20]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axes.axhline(100 * (1 - LEVEL), color="0.3", linewidth=0.8)
    axes.annotate("99 % found", (20, 100 * (1 - LEVEL)), xytext=(4, -11), textcoords="offset points", color="0.3")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
