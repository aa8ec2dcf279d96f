"""The results of the methods: rows, tables and the picture."""

# K networks
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.table import Table as RichTable

from experiments.compare.judging import FIRST, Judge, SliceRanking
from experiments.compare.methods import Method, expected_budget, methods_of_kind
from experiments.compare.pieces import Piece, load_figures, load_piece
from experiments.compare.settings import Settings, config_of, spent_by
from experiments.compare.statistics import interval
from experiments.compare.truth import best_front
from multinas_ray.selection import prior_weight
from multinas_ray.spaces import FloatArray

REFERENCE = "ours-first-prior"
"""The method from which the others' differences are told."""


def collect(methods: Mapping[str, Method], seeds: Sequence[int], judge: Judge, out: Path) -> pd.DataFrame:
    """A row for each method and seed that has its networks.

    Columns: `method`, `seed`, `weight_steps` and `evaluations` spent, `share` (hypervolume as a share of the best
    within the targets), `hypervolume`, `architectures`, `targets`, `flops` (searched space), `true_flops`,
    `true_accuracies`.
    """
    rows = []
    for seed in seeds:
        pieces = {kind: load_piece(Piece("networks", kind, seed).path(out)) for kind in methods_of_kind(methods)}
        for name, method in methods.items():
            of_kind = pieces[method.kind]
            networks = None if of_kind is None else of_kind[of_kind["method"] == name]
            if networks is not None and len(networks):
                budget = expected_budget(method, judge.settings, out)
                first = {"method": name, "seed": seed, "weight_steps": budget.weight_steps}
                rows.append({**first, **_networks_row(networks, judge)})
    return pd.DataFrame(rows)


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
    }


def collect_rankings(methods: Mapping[str, Method], seeds: Sequence[int], judge: Judge, out: Path) -> pd.DataFrame:
    """A row for each ranking of the slices.

    Columns: `ranking`, `kind` of the supernet ("" without one), `seed` (-1 without one), `tau` and `regret`, (K,) each.
    """
    rows = []
    figures = [{row: -value for row, value in part.items()} for part in load_figures(out).values()]

    def add(title: str, kind: str, seed: int, ranking: SliceRanking) -> None:
        row = {"ranking": title, "kind": kind, "seed": seed, "tau": ranking.tau_K, "regret": ranking.regret_K}
        rows.append(row)

    for kind in methods_of_kind(methods):
        for seed in seeds:
            scores = load_piece(Piece("ranking", kind, seed).path(out))
            if scores is not None:
                losses = dict(zip(scores["architecture"], scores["loss"], strict=True))
                add(f"{kind} supernet", kind, seed, judge.ranking(losses))
                if figures:
                    weight = prior_weight(spent_by(config_of(kind, 0, judge.settings, out, 1)).weight_steps)
                    weights = (1.0, *[weight] * len(figures))
                    both = judge.ranking(losses, *figures, weights=weights)
                    add(f"{kind} supernet, with the prior", kind, seed, both)
    if figures:
        add("the prior alone", "", -1, judge.ranking(*figures))
    add("the true errors", "", -1, judge.perfect_ranking())
    return pd.DataFrame(rows)


def summarise(rows: pd.DataFrame, methods: Mapping[str, Method], judge: Judge) -> pd.DataFrame:
    """The table of the networks, as text: over the seeds, then rows that need no search, for comparison."""
    lines = []
    reference = rows[rows["method"] == REFERENCE].set_index("seed")["share"]
    for name, of_method in rows.groupby("method", sort=False):
        shares, accuracies = of_method.set_index("seed")["share"], of_method["true_accuracies"].tolist()
        lines.append(
            {
                "method": methods[str(name)].title,
                "seeds": str(len(of_method)),
                "weight steps": f"{of_method['weight_steps'].iloc[0]:,}",
                "evaluations": f"{int(of_method['evaluations'].median()):,}",
                "hypervolume": f"{shares.median():.1%} ({shares.min():.1%} to {shares.max():.1%})",
                "5 % quantile": f"{shares.quantile(0.05):.1%}",
                "difference": "" if name == REFERENCE else _difference(shares, reference),
                "true accuracies": _accuracies(np.median(accuracies, axis=0)),
            }
        )
    families, front = judge.random_families(), best_front(judge.truth, judge.settings.num_targets)
    low, middle = np.quantile(families, (0.05, 0.5))
    lines += [
        {"method": "Random networks of the slices", "hypervolume": f"{middle:.1%}", "5 % quantile": f"{low:.1%}"},
        {
            "method": "Best within the targets",
            "hypervolume": "100.0%",
            "true accuracies": _accuracies(100 - judge.truth.points[judge.best, 0]),
        },
        {"method": f"Best {len(front)} of the front, any FLOPs", "hypervolume": f"{judge.share(front):.1%}"},
    ]
    return pd.DataFrame(lines).fillna("")


def _difference(shares: pd.Series, reference: pd.Series) -> str:
    """Paired over the seeds, in percentage points: the mean, and its interval where there are enough seeds."""
    differences = 100 * (shares - reference).dropna().to_numpy(np.float64)
    if not len(differences):
        return ""
    low, high = interval(differences)
    mean = f"{differences.mean():+.1f}"
    return mean if np.isnan(low) else f"{mean} [{low:+.1f}, {high:+.1f}]"


def summarise_rankings(rankings: pd.DataFrame) -> pd.DataFrame:
    """The table of the rankings, as text: means over the seeds, in each slice and over all."""
    lines = []
    for name, of_ranking in rankings.groupby("ranking", sort=False):
        line = {"ranking": str(name), "seeds": "" if of_ranking["seed"].iloc[0] < 0 else str(len(of_ranking))}
        for column in ("tau", "regret"):
            values_SK = np.array(of_ranking[column].tolist())
            low, high = interval(values_SK.mean(axis=1))
            mean = f"{values_SK.mean():.2f}" + ("" if np.isnan(low) or low == high else f" [{low:.2f}, {high:.2f}]")
            line |= {
                column: mean,
                f"{column} in each slice": " ".join(f"{each:.2f}" for each in values_SK.mean(axis=0)),
            }
        lines.append(line)
    return pd.DataFrame(lines)


def _accuracies(values: FloatArray) -> str:
    return " ".join(f"{value:.1f}" for value in values)


def titles(settings: Settings, judge: Judge) -> tuple[str, str, str]:
    """The title, the caption of the networks' table, and that of the rankings'."""
    targets = ", ".join(f"{target / 1e6:.2f}" for target in settings.targets)
    budget = f"{settings.images:,} images, {settings.epochs} epochs"
    title = f"{settings.num_targets} networks within {targets} M FLOPs; {budget}"
    networks = (
        "Hypervolume of the true errors and FLOPs as a share of that of the best within the targets, with the "
        f"reference point ({judge.truth.reference[0]:.2f} %, the largest FLOPs): median over seeds (least to most). "
        f"Difference from {REFERENCE}: mean over the seeds that both have, in percentage points, with a paired 95 % "
        "bootstrap interval."
    )
    rankings = (
        "Of all networks in the slice of each target, by Kendall's tau with the true errors and by the regret of the "
        f"{FIRST} ranked first: their mean true error above the least of the slice, in percentage points. Means over "
        "seeds and slices, with a 95 % bootstrap interval over seeds."
    )
    return title, networks, rankings


def rich_table(summary: pd.DataFrame, title: str, caption: str) -> RichTable:
    """The table for the terminal."""
    rich = RichTable(title=title, title_justify="left", caption=caption, caption_justify="left")
    for place, name in enumerate(summary.columns):
        rich.add_column(name, justify="left" if place == 0 else "right")
    for cells in summary.itertuples(index=False):
        rich.add_row(*cells)
    return rich


def markdown(summary: pd.DataFrame, title: str, caption: str) -> str:
    """The table for a page of the documentation."""
    lines: list[list[str]] = [summary.columns.tolist(), ["---"] * summary.shape[1], *summary.to_numpy().tolist()]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{title}\n\n{table}\n\n{caption}\n"
