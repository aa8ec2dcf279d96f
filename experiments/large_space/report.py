"""What the searches gave: how far the K networks' losses lie above the best, with intervals over the seeds."""

# K targets, S seeds
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import bootstrap

from experiments.large_space.methods import METHODS
from experiments.large_space.pieces import BUDGETS, Piece, pieces_of
from experiments.parts import pictures
from multinas_ray.spaces import FloatArray

REFERENCES = ("evolution", "evolution-small", "evolution-prior", "evolution-small-prior", "random-prior")
"""The methods that all others are compared with."""
CONFIDENCE = 0.95
RESAMPLES = 9_999
COLORS = {
    "random": pictures.GREY,
    "evolution": pictures.VERMILION,
    "evolution-small": pictures.ORANGE,
    "ours-reuse": pictures.GREEN,
    "ours": pictures.BLUE,
    "ours-plain": pictures.PURPLE,
}
"""Of each method; its variants have the same."""
STYLES = {"": "-", "-prior": "--", "-start": ":"}
"""Of the line: what the method's variant adds to its name."""


def look_of(method: str) -> tuple[str, str]:
    """Colour and style of a method's line."""
    variant = next(each for each in STYLES if each and method.endswith(each)) if method not in COLORS else ""
    return COLORS[method.removesuffix(variant)], STYLES[variant]


def collect(evaluator: str, methods: Sequence[str], seeds: Sequence[int], out: Path) -> pd.DataFrame:
    """A row for each method, seed and number of evaluations of the seeds that all methods have done.

    Columns: `method`, `seed`, `evaluations`, `above`: mean over the K targets of loss / best - 1, in percent. Where
    the best is not known, it is the least that any method found on that seed's problem.
    """
    frames = []
    for seed in seeds:
        rows = {piece: piece.rows(out) for piece in pieces_of(evaluator, methods, [seed])}
        if not any(each is None for each in rows.values()):
            frames.append(_above_best(rows).assign(seed=seed))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def _above_best(rows: dict[Piece, pd.DataFrame | None]) -> pd.DataFrame:
    joined = pd.concat([each.assign(method=piece.method) for piece, each in rows.items() if each is not None])
    best = joined["best"].fillna(joined.groupby("target")["loss"].transform("min"))
    joined["above"] = 100.0 * (joined["loss"] / best - 1.0)
    return joined.groupby(["method", "evaluations"])["above"].mean().reset_index()


def median_interval(values_S: FloatArray) -> tuple[float, float, float]:
    """The median, and the ends of its bootstrap interval (percentiles); the ends are NaN for a single value."""
    if len(values_S) < 2:
        return float(np.median(values_S)), np.nan, np.nan
    found = bootstrap(
        (values_S,),
        np.median,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(np.median(values_S)), float(found.low), float(found.high)


def summarise(rows: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """Medians over the seeds with their intervals, as text."""
    lines = []
    for method in methods:
        line = {"method": METHODS[method].title, "seeds": str(rows["seed"].nunique())}
        lines.append(line | {f"after {each:,}": _text(_above(rows, method, each), "{:.1f}") for each in BUDGETS})
    return pd.DataFrame(lines)


def compare(rows: pd.DataFrame, methods: Sequence[str], reference: str) -> pd.DataFrame:
    """Medians of the paired differences from a method, as text; the last column gives it four times the budget."""
    lines, pairs = [], [*((budget, budget) for budget in BUDGETS), (BUDGETS[-2], BUDGETS[-1])]
    for method in methods:
        line = {f"minus: {METHODS[reference].title}": METHODS[method].title}
        for budget, others in pairs:
            heading = f"after {budget:,}" if budget == others else f"{budget:,} against {others:,}"
            line[heading] = _text(_above(rows, method, budget) - _above(rows, reference, others), "{:+.1f}")
        if method != reference:
            lines.append(line)
    return pd.DataFrame(lines)


def _above(rows: pd.DataFrame, method: str, evaluations: int) -> FloatArray:
    """(S,) by rising seed."""
    chosen = rows[(rows["method"] == method) & (rows["evaluations"] == evaluations)]
    above_S: FloatArray = chosen.sort_values("seed")["above"].to_numpy(dtype=np.float64)
    return above_S


def _text(values_S: FloatArray, form: str) -> str:
    middle, low, high = (form.format(each) for each in median_interval(values_S))
    return middle if len(values_S) < 2 else f"{middle} ({low} to {high})"


def markdown(tables: Sequence[pd.DataFrame], title: str) -> str:
    """The tables for a page."""
    parts = [title]
    for table in tables:
        lines: list[list[str]] = [table.columns.tolist(), ["---"] * table.shape[1], *table.to_numpy().tolist()]
        parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
    return "\n\n".join(parts) + "\n"


def draw(rows: pd.DataFrame, methods: Sequence[str], title: str, path: Path) -> None:
    """Write the picture: loss above the best against evaluations, median over the seeds and its interval."""
    figure = pictures.new_figure(7.5, 4.8)
    axes = figure.subplots()
    for method in methods:
        _draw_curve(axes, rows[rows["method"] == method], *look_of(method), METHODS[method].title)
    axes.set(xscale="log", yscale="log", title=title, xlabel="evaluated networks, for all targets together")
    axes.set_ylabel("loss above the best, % (mean of the targets)")
    axes.legend(edgecolor="none", framealpha=1.0, fontsize=8)
    pictures.plain_frame(axes)
    pictures.save_figure(figure, path)


def _draw_curve(axes: Axes, rows: pd.DataFrame, color: str, style: str, label: str) -> None:
    at = rows.pivot_table(index="evaluations", columns="seed", values="above").replace(np.inf, np.nan).dropna()
    ends = np.array([median_interval(values) for values in at.to_numpy()])
    axes.plot(at.index, ends[:, 0], style, color=color, label=label)
    if at.shape[1] > 1:
        axes.fill_between(at.index, ends[:, 1], ends[:, 2], color=color, alpha=0.12, linewidth=0)
