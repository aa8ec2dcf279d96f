"""What the trainings gave: accuracies of each method within each limit, with intervals over the seeds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import t

from experiments.parts import pictures
from experiments.parts.rows import rows_of
from experiments.scaled.options import METHODS
from multinas_ray.runs import format_count

Floats = npt.NDArray[np.floating[Any]]

CONFIDENCE = 0.95
REFERENCE = "scaled"
"""The method that all others are compared with."""
COLORS = {"searched": pictures.BLUE, "scaled": pictures.VERMILION, "untrained": pictures.GREY}
MARKERS = {"searched": "o", "scaled": "s", "untrained": "^"}


def half_interval(values_S: Floats) -> float:
    """Half the width of the interval of the mean over seeds, by Student's t; NaN for a single seed."""
    if len(values_S) < 2:
        return np.nan
    return float(t.ppf((1 + CONFIDENCE) / 2, len(values_S) - 1) * np.std(values_S, ddof=1) / np.sqrt(len(values_S)))


def accuracies(trainings: pd.DataFrame, method: str, limit: float, seeds: Sequence[int]) -> "pd.Series[float]":
    """In percent, by seed."""
    rows = trainings[
        (trainings["method"] == method) & (trainings["limit"] == limit) & trainings["seed"].isin(list(seeds))
    ]
    return 100.0 * rows.set_index("seed")["accuracy"].sort_index()


def table(networks: pd.DataFrame, trainings: pd.DataFrame, seeds: Sequence[int]) -> pd.DataFrame:
    """A line for each network that was trained, as text; the last column has paired differences over the seeds."""
    lines = []
    for row in rows_of(networks):
        found = accuracies(trainings, row["method"], row["limit"], seeds)
        if found.empty:
            continue
        line = {
            "within": format_count(row["limit"]),
            "network": METHODS[row["method"]],
            "flops": format_count(row["flops"]),
            "params": format_count(row["params"]),
            "seeds": str(len(found)),
            "accuracy, %": _text(found.to_numpy(dtype=np.float64), "{:.2f}"),
        }
        paired = (found - accuracies(trainings, REFERENCE, row["limit"], seeds)).dropna().to_numpy(dtype=np.float64)
        compared = row["method"] != REFERENCE and len(paired)
        lines.append({**line, f"minus {METHODS[REFERENCE]}": _text(paired, "{:+.2f}") if compared else ""})
    return pd.DataFrame(lines)


def _text(values_S: Floats, form: str) -> str:
    mean, half = form.format(np.mean(values_S)), half_interval(values_S)
    return mean if np.isnan(half) else f"{mean} ± {half:.2f}"


def draw(networks: pd.DataFrame, trainings: pd.DataFrame, seeds: Sequence[int], title: str, path: Path) -> None:
    """Write the picture: accuracy against multiply-adds, means over the seeds and their intervals."""
    figure = pictures.new_figure(7.0, 4.4)
    axes = figure.subplots()
    for method in METHODS:
        points = []
        for row in rows_of(networks[networks["method"] == method].sort_values("flops")):
            found = accuracies(trainings, method, row["limit"], seeds).to_numpy(dtype=np.float64)
            if len(found):
                points.append((row["flops"] / 1e6, found.mean(), half_interval(found)))
        if points:
            flops, means, halves = np.array(points).T
            errors = np.nan_to_num(halves)
            color, marker = COLORS[method], MARKERS[method]
            axes.errorbar(flops, means, errors, color=color, marker=marker, label=METHODS[method], capsize=3)
    axes.set(xscale="log", title=title, xlabel="million multiply-adds of an image", ylabel="accuracy on test images, %")
    axes.legend(edgecolor="none", framealpha=1.0)
    pictures.plain_frame(axes)
    pictures.save_figure(figure, path)
