"""The results of the searches: summary, tables for the terminal, and goals."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from rich.table import Table as RichTable

from experiments.parts.tables import Table
from experiments.tabular.measures import Measures, first_at
from experiments.tabular.methods import METHODS

LEVEL = 0.99
POINTS = (400, 1000)
"""Numbers of evaluations after which the answers are compared."""
ANSWERS = ("modes_share", "chosen_share")
SEPARATE = "separate-asng"
INTERVAL = (0.05, 0.5, 0.95)
GOAL_EVALUATIONS = {"nasbench201": 220, "macro": 350}
GOAL_ANSWERS = 0.985
GOAL_RATIO = 0.25


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
        levels = {column: LEVEL * final for column, final in separate_finals(of_table).items()}
        points = [count for count in POINTS if count <= of_table["evaluation"].max()]
        for method, of_method in of_table.groupby("method", sort=False):
            values = [_measure(search, measures, levels, points) for _, search in of_method.groupby("seed")]
            for name in values[0]:
                low, median, high = np.quantile([value[name] for value in values], INTERVAL, method="inverted_cdf")
                rows.append((table.name, method, name, median, low, high, len(values)))
    return pd.DataFrame(rows, columns=["table", "method", "measure", "median", "low", "high", "seeds"])


def summary_table(summary: pd.DataFrame, table: Table, share: float) -> RichTable:
    """Medians and 90 % intervals over the seeds for one table; `share` is that of the best 8 points of its front."""
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


def separate_finals(of_table: pd.DataFrame) -> dict[str, float]:
    """Final values of the separate runs' answers by column of ANSWERS, medians over the seeds; empty without runs."""
    finals = of_table[of_table["method"] == SEPARATE].groupby("seed").last()
    return {} if finals.empty else {column: float(finals[column].median()) for column in ANSWERS}


def _goals(values: dict[tuple[str, str, str], float], table: str, method: str) -> list[tuple[str, str, bool]]:
    """Returns (goal, result, whether the result meets the goal)."""
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
        theirs = values.get((table, SEPARATE, name), np.nan)
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
