"""The pictures: ranking, hypervolume, and the networks beside the true front; and hypervolume against training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from experiments.compare.judging import Judge
from experiments.compare.methods import Method
from experiments.compare.statistics import interval
from experiments.parts import pictures

STYLES = {
    "deepest": (pictures.BLACK, "x"),
    "prior": (pictures.ORANGE, "*"),
    "random": (pictures.GREY, "D"),
    "spos": (pictures.VERMILION, "^"),
    "ours": (pictures.BLUE, "o"),
    "ours-first": (pictures.SKY_BLUE, "P"),
    "separate": (pictures.PURPLE, "s"),
    "full": (pictures.GREEN, "v"),
}
"""Colour and marker of each method; with the prior the marker is filled."""
PRIOR_SUFFIX = "-prior"


def draw(rows: pd.DataFrame, rankings: pd.DataFrame, methods: Mapping[str, Method], judge: Judge, path: Path) -> None:
    """Write the picture."""
    names = [name for name in methods if name in set(rows["method"])]
    figure = pictures.new_figure(14, 1.6 + 0.33 * max(len(names), 8))
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.2, 1.2))
    _draw_rankings(left, rankings)
    _draw_shares(middle, rows, names, methods, judge)
    _draw_networks(right, rows, names, judge)
    for axes in (left, middle, right):
        pictures.plain_frame(axes)
    pictures.save_figure(figure, path)


def draw_costs(rows: pd.DataFrame, methods: Mapping[str, Method], path: Path) -> None:
    """Write the picture of hypervolume against training: a line for each method through the means at its budgets.

    Args:
        rows: of all budgets, see `report.collect`.
        methods: by name.
        path: the file.
    """
    figure = pictures.new_figure(7.5, 5.0)
    axes = figure.subplots()
    trained = rows[rows["weight_steps"] > 0]
    for name in (each for each in methods if each in set(rows["method"])):
        shares = 100 * rows[rows["method"] == name].groupby("weight_steps")["share"].apply(np.asarray)
        style: dict[str, Any] = {**_style(name), "linestyle": "-" if name.endswith(PRIOR_SUFFIX) else ":"}
        if methods[name].supernets:
            means, ends = [each.mean() for each in shares], np.array([interval(each) for each in shares])
            axes.fill_between(shares.index, ends[:, 0], ends[:, 1], color=style["color"], alpha=0.12, linewidth=0)
            axes.plot(shares.index, means, label=methods[name].title, **style)
        else:
            axes.axhline(shares.iloc[0].mean(), color=style["color"], linewidth=1, linestyle="--")
            axes.text(trained["weight_steps"].max(), shares.iloc[0].mean(), methods[name].title, ha="right", fontsize=8)
    axes.set(xscale="log", xlabel="training steps of one subnet, all searches together")
    axes.set(ylabel="hypervolume, % of the best within the targets", title="K networks by their true errors")
    budgets = sorted(set(trained["weight_steps"]))
    axes.set_xticks(budgets, [f"{steps:,}" for steps in budgets])
    axes.minorticks_off()
    axes.legend(edgecolor="none", fontsize=8, loc="lower right")
    pictures.plain_frame(axes)
    pictures.save_figure(figure, path)


def _style(name: str) -> dict[str, object]:
    color, marker = STYLES[name.removesuffix(PRIOR_SUFFIX)]
    is_filled = name.endswith(PRIOR_SUFFIX) or name in ("prior", "deepest")
    return {"color": color, "marker": marker, "linestyle": "", "markerfacecolor": color if is_filled else "white"}


def _draw_rankings(axes: Axes, rankings: pd.DataFrame) -> None:
    """A dot for each seed at its mean tau, and a line at the median."""
    names = list(dict.fromkeys(rankings["ranking"]))
    for place, name in enumerate(names):
        taus = rankings.loc[rankings["ranking"] == name, "tau"].map(np.mean).dropna()
        if taus.empty:
            continue
        axes.plot(taus, [place] * len(taus), "o", color=pictures.BLUE, alpha=0.6)
        axes.plot([taus.median()] * 2, [place - 0.25, place + 0.25], color=pictures.BLUE, linewidth=2)
    axes.set(title="Ranking within the slices", xlabel="Kendall's tau with the true errors, mean of the slices")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0.0, 1.03)


def _draw_shares(
    axes: Axes, rows: pd.DataFrame, names: Sequence[str], methods: Mapping[str, Method], judge: Judge
) -> None:
    """A dot for each seed, and a line at the median."""
    for place, name in enumerate(names):
        values = 100 * rows.loc[rows["method"] == name, "share"]
        axes.plot(values, [place] * len(values), alpha=0.7, markersize=6, **_style(name))  # type: ignore[arg-type]
        color = STYLES[name.removesuffix(PRIOR_SUFFIX)][0]
        axes.plot([values.median()] * 2, [place - 0.3, place + 0.3], color=color, linewidth=2)
    middle = 100 * float(np.median(judge.random_families()))
    axes.axvline(middle, color="0.4", linestyle="--", linewidth=1, label="random networks of the slices")
    axes.set(title="K networks by their true errors", xlabel="hypervolume, % of the best within the targets")
    axes.set_xlim(min(60.0, 100 * rows["share"].min() - 3), 101.0)
    axes.set_yticks(range(len(names)), [methods[name].title for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.legend(edgecolor="none", fontsize=8, loc="lower left")


def _draw_networks(axes: Axes, rows: pd.DataFrame, names: Sequence[str], judge: Judge) -> None:
    front = judge.truth.front[judge.truth.front[:, 1].argsort()]
    axes.step(100 * front[:, 1], 100 - front[:, 0], where="post", color="0.5", linewidth=1, label="true front")
    for name in names:
        of_method = rows[rows["method"] == name]
        flops, accuracies = (np.concatenate(of_method[each].tolist()) for each in ("true_flops", "true_accuracies"))
        axes.plot(100 * flops, accuracies, markersize=5, alpha=0.7, label=name, **_style(name))  # type: ignore[arg-type]
    axes.set(title="The networks of all seeds", xlabel="FLOPs, % of the largest network's", ylabel="true accuracy, %")
    axes.set_ylim(100 - judge.truth.reference[0], 93.5)  # points below add nothing to the hypervolume
    axes.set_xlim(15, 75)
    axes.legend(edgecolor="none", fontsize=7, loc="lower right", ncols=2)
