"""The results of the methods: one row for each method and seed, the table, and the picture."""

# K networks

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from rich.table import Table as RichTable
from scipy.stats import kendalltau

from experiments.compare.methods import MATCHED_SHARE, Method, expected_budget
from experiments.compare.pieces import Piece, load_piece
from experiments.compare.settings import Settings
from experiments.compare.truth import best_front, best_within, matched_within
from experiments.parts import pictures
from experiments.parts.tables import FloatArray, IntArray, Table

RANDOM_FAMILIES = 1_000
COLUMNS = {
    "title": "method",
    "seeds": "seeds",
    "weight_steps": "weight steps",
    "evaluations": "evaluations",
    "tau": "Kendall's tau",
    "share": "hypervolume",
    "accuracies": "true accuracy of the K networks",
}
MARKS = {
    "ours": (pictures.BLUE, "o"),
    "ours-first": (pictures.SKY_BLUE, "P"),
    "separate": (pictures.PURPLE, "s"),
    "spos": (pictures.VERMILION, "^"),
    "random": (pictures.GREY, "D"),
    "separate-full": (pictures.GREEN, "v"),
}
"""Colour and marker of each method."""


class Judge:
    """Measures networks by their true accuracies and FLOPs.

    Args:
        truth: the table.
        settings: the comparison, whose space has FLOPs of its own.
    """

    def __init__(self, truth: Table, settings: Settings) -> None:
        self.truth, self.settings = truth, settings
        self.flops: FloatArray = settings.space.costs["flops"](truth.architectures)
        """FLOPs in the searched space, by row."""
        self.best = best_within(truth, self.flops, settings.targets)
        """(K,) rows of the best true accuracy within each target."""
        self._best_hypervolume = truth.hypervolume(self.best)

    def share(self, rows: IntArray) -> float:
        """Hypervolume of networks as a share of that of the best within the targets."""
        return self.truth.hypervolume(rows) / self._best_hypervolume

    def tau(self, ranking: pd.DataFrame) -> float:
        """Kendall's tau between a supernet's losses and the true errors."""
        rows = self.truth.rows(np.array(ranking["architecture"].tolist()))
        return float(kendalltau(ranking["loss"], self.truth.points[rows, 0]).statistic)

    def tau_of_size(self, architectures: Sequence[tuple[int, ...]]) -> float:
        """Kendall's tau of FLOPs alone with the true accuracies, which needs no supernet."""
        rows = self.truth.rows(np.array(architectures))
        return float(kendalltau(-self.flops[rows], self.truth.points[rows, 0]).statistic)

    def random_families(self) -> FloatArray:
        """Shares of families with one uniform pick at the complexity of each target."""
        rng = np.random.default_rng(0)
        picks = [
            rng.choice(matched_within(self.flops, target, MATCHED_SHARE), RANDOM_FAMILIES)
            for target in self.settings.targets
        ]
        return np.array([self.share(rows) for rows in np.stack(picks, axis=1)])


def collect(methods: Mapping[str, Method], seeds: Sequence[int], judge: Judge, out: Path) -> pd.DataFrame:
    """A row for each method and seed that has its networks.

    Columns: `method`, `seed`, `weight_steps` and `evaluations` spent, `tau` (mean over the method's supernets; NaN
    before all are ranked), `share` (hypervolume as a share of the best within the targets), `hypervolume`,
    `architectures`, `targets`, `flops` (searched space), `true_flops`, `true_accuracies`, `supernet_accuracies`.
    """
    rows = []
    for name, method in methods.items():
        for seed in seeds:
            networks = load_piece(Piece("networks", name, seed).path(out))
            if networks is not None:
                taus = [_tau(judge, Piece("ranking", supernet, seed).path(out)) for supernet in method.supernets]
                budget = expected_budget(method, judge.settings, out)
                first = {"method": name, "seed": seed, "weight_steps": budget.weight_steps, "tau": np.mean(taus)}
                rows.append({**first, **_networks_row(networks, judge)})
    return pd.DataFrame(rows)


def _tau(judge: Judge, file: Path) -> float:
    ranking = load_piece(file)
    return np.nan if ranking is None else judge.tau(ranking)


def _networks_row(networks: pd.DataFrame, judge: Judge) -> dict[str, Any]:
    networks = networks.sort_values("target")
    rows = judge.truth.rows(np.array(networks["architecture"].tolist()))
    points = judge.truth.points[rows]
    return {
        "evaluations": int(networks["evaluations"].iloc[0]),
        "share": judge.share(rows),
        "hypervolume": judge.truth.hypervolume(rows),
        "architectures": ["".join(map(str, each)) for each in networks["architecture"]],
        "targets": networks["target"].tolist(),
        "flops": networks["flops"].tolist(),
        "true_flops": points[:, 1].tolist(),
        "true_accuracies": (100 - points[:, 0]).tolist(),
        "supernet_accuracies": networks["accuracy"].tolist(),
    }


def summarise(rows: pd.DataFrame, methods: Mapping[str, Method], judge: Judge, tau_of_size: float) -> pd.DataFrame:
    """The table, as text: medians over the seeds (least to most), then rows that need no search, for comparison."""
    lines = []
    for name, of_method in rows.groupby("method", sort=False):
        accuracies = np.median(of_method["true_accuracies"].tolist(), axis=0)
        lines.append(
            {
                "title": methods[str(name)].title,
                "seeds": str(len(of_method)),
                "weight_steps": f"{of_method['weight_steps'].iloc[0]:,}",
                "evaluations": f"{int(of_method['evaluations'].median()):,}",
                "tau": _spread(of_method["tau"].dropna().to_numpy(), "{:.2f}"),
                "share": _spread(of_method["share"].to_numpy(), "{:.1%}"),
                "accuracies": _accuracies(accuracies),
            }
        )
    families = judge.random_families()
    low, middle, high = np.quantile(families, (0.05, 0.5, 0.95))
    front = best_front(judge.truth, judge.settings.num_targets)
    none = {"seeds": "", "weight_steps": "0", "evaluations": "0", "tau": "", "accuracies": ""}
    random_title = "Random picks at matched FLOPs (5 % to 95 %)"
    lines += [
        {**none, "title": random_title, "share": f"{middle:.1%} ({low:.1%} to {high:.1%})"},
        {**none, "title": "FLOPs alone, larger is better", "tau": f"{tau_of_size:.2f}", "share": ""},
        {**none, "title": "Best within the targets", "share": "100.0%", "accuracies": _accuracies(_of(judge))},
        {**none, "title": f"Best {len(front)} of the front, any FLOPs", "share": f"{judge.share(front):.1%}"},
    ]
    return pd.DataFrame(lines)[list(COLUMNS)].rename(columns=COLUMNS)


def _of(judge: Judge) -> FloatArray:
    accuracies: FloatArray = 100 - judge.truth.points[judge.best, 0]
    return accuracies


def _accuracies(values: FloatArray) -> str:
    return " ".join(f"{value:.1f}" for value in values)


def _spread(values: FloatArray, form: str) -> str:
    if not len(values):
        return "not yet"
    middle, least, most = (form.format(value) for value in (np.median(values), values.min(), values.max()))
    return middle if len(values) == 1 else f"{middle} ({least} to {most})"


def rich_table(summary: pd.DataFrame, title: str, caption: str) -> RichTable:
    """The table for the terminal."""
    rich = RichTable(title=title, title_justify="left", caption=caption, caption_justify="left")
    for place, name in enumerate(summary.columns):
        rich.add_column(name, justify="left" if place == 0 else "right")
    for cells in summary.itertuples(index=False):
        rich.add_row(*cells)
    return rich


def markdown(summary: pd.DataFrame, title: str, caption: str) -> str:
    """The table for a README."""
    lines: list[list[str]] = [summary.columns.tolist(), ["---"] * summary.shape[1], *summary.to_numpy().tolist()]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{title}\n\n{table}\n\n{caption}\n"


def draw(rows: pd.DataFrame, methods: Mapping[str, Method], judge: Judge, tau_of_size: float, path: Path) -> None:
    """Write the picture: ranking, hypervolume, and the networks beside the true front."""
    figure = pictures.new_figure(12.5, 4.6)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.3))
    names = [name for name in methods if name in set(rows["method"])]
    _dots(left, rows, names, "tau", 1.0)
    left.axvline(tau_of_size, color="0.4", linestyle="--", linewidth=1, label="FLOPs alone")
    left.set(title="Ranking by the supernet", xlabel="Kendall's tau with the true accuracies")
    left.set_xlim(min(0.0, rows["tau"].min()), 1.0)
    left.set_yticks(range(len(names)), [methods[name].title.replace(", ", ",\n") for name in names])
    _dots(middle, rows, names, "share", 100.0)
    random_share = 100 * float(np.median(judge.random_families()))
    middle.axvline(random_share, color="0.4", linestyle="--", linewidth=1, label="random picks at matched FLOPs")
    middle.set(title="Networks by their true accuracies", xlabel="hypervolume, % of the best within the targets")
    middle.set_xlim(min(40.0, 100 * rows["share"].min() - 3), 105.0)
    middle.set_yticks(range(len(names)), [])
    _draw_networks(right, rows, names, judge)
    for axes in (left, middle, right):
        axes.legend(edgecolor="none", framealpha=1.0, fontsize=8, loc="lower right" if axes is right else "upper left")
        pictures.plain_frame(axes)
    pictures.save_figure(figure, path)


def _dots(axes: Axes, rows: pd.DataFrame, names: Sequence[str], column: str, factor: float) -> None:
    """Draw a dot for each seed and a line at the median."""
    for place, name in enumerate(names):
        values, (color, marker) = factor * rows.loc[rows["method"] == name, column].dropna(), MARKS[name]
        axes.plot(values, [place] * len(values), marker, color=color, markersize=7, alpha=0.7)
        if len(values):
            axes.plot([values.median()] * 2, [place - 0.25, place + 0.25], color=color, linewidth=2)
    axes.set_ylim(len(names) - 0.4, -0.9)


def _draw_networks(axes: Axes, rows: pd.DataFrame, names: Sequence[str], judge: Judge) -> None:
    front = judge.truth.front[judge.truth.front[:, 1].argsort()]
    axes.step(100 * front[:, 1], 100 - front[:, 0], where="post", color="0.5", linewidth=1, label="true front")
    for name in names:
        of_method, (color, marker) = rows[rows["method"] == name], MARKS[name]
        flops, accuracies = (np.concatenate(of_method[each].tolist()) for each in ("true_flops", "true_accuracies"))
        axes.plot(100 * flops, accuracies, marker, color=color, markersize=6, alpha=0.7, label=name)
    axes.set(title="The networks of all seeds", xlabel="FLOPs, % of the largest network's", ylabel="true accuracy, %")
    axes.set_ylim(100 - judge.truth.reference[0], 93.5)  # points below add nothing to the hypervolume
    axes.set_xlim(15, 75)
