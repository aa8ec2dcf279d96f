"""Tables for the terminal: the chosen networks, and the candidates among which they were chosen."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from rich.console import Group
from rich.table import Table

from multinas_ray.cluster import PlainTable
from multinas_ray.runs import PrimaryMetric, format_count
from multinas_ray.selection.families import Family
from multinas_ray.settings import checked_arguments


def networks_table(architectures: pd.DataFrame, metric: PrimaryMetric | None = None) -> Group:
    """The chosen networks for the terminal: a table of figures, then the goal and the architecture of each.

    Args:
        architectures: the networks of a family, with the columns of `architectures_schema`.
        metric: the primary metric of the run's task; None: the accuracy.
    """
    metric, costs = metric or PrimaryMetric(), _costs_of(architectures)
    table = PlainTable(title=f"{len(architectures)} networks, from small to large", title_justify="left")
    for name in ("#", *costs, "val. loss", f"val. {_short(metric)}", f"test {_short(metric)}"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("origin")
    first: dict[Any, int] = {}
    described = PlainTable.grid(padding=(0, 1))
    for row in architectures.to_dict("records"):
        same = first.setdefault(row["architecture"], row["network"])
        table.add_row(
            str(row["network"]),
            *(format_count(row[name]) for name in costs),
            f"{row['supernet_loss']:.4f}",
            metric.text(row["supernet_accuracy"]),
            metric.text(row["supernet_test_accuracy"]),
            row["origin"] + ("" if same == row["network"] else f" (as #{same})"),
        )
        described.add_row(f"#{row['network']}", f"for {_goal_text(row)}:", row["architecture_readable"])
    return Group(table, described)


def _goal_text(row: Any) -> str:
    """The goal of a network in words: its coefficient, or its limits."""
    if pd.isna(row["limits"]):
        return f"coefficient {row['coefficient']:.3g}"
    return ", ".join(f"{name} <= {format_count(limit)}" for name, limit in json.loads(row["limits"]).items())


@checked_arguments
def rung_counts(candidates: pd.DataFrame) -> list[tuple[int, int]]:
    """How many networks were evaluated in each rung of successive halving, and on how many images each.

    Args:
        candidates: those of a family, with the columns of `candidates_schema`.
    """
    reached = candidates.groupby("architecture")["rung"].max()
    images = candidates.groupby("rung")["images"].max()
    return [(int((reached >= rung).sum()), int(images[rung])) for rung in images.index]


@checked_arguments
def spent_text(candidates: pd.DataFrame, metric: PrimaryMetric | None = None) -> str:
    """What the choice has cost, in words.

    Args:
        candidates: those of a family, with the columns of `candidates_schema`.
        metric: the primary metric of the run's task; None: the accuracy.
    """
    samples = (metric or PrimaryMetric()).samples
    counts = rung_counts(candidates)
    parts = [f"{networks:,} networks on {images:,} validation {samples}" for networks, images in counts]
    total = format_count(sum(networks * images for networks, images in counts))
    return f"Evaluated for the choice: {', '.join(parts)}; {total} {samples} in all."


def candidate_tables(family: Family, metric: PrimaryMetric) -> Group:
    """One table for each network: the candidates of the last rung, their figures, and why each was chosen or not."""
    goals = {row["network"]: _goal_text(row) for row in family.architectures.to_dict("records")}
    last = family.candidates["rung"].max()
    tables = []
    for network, rows in family.candidates.groupby("network", sort=True):
        name = (
            f"Network #{network}, for {goals[network]}" if network in goals else f"Goal {network}, met by no candidate"
        )
        finalists = rows[rows["rung"] == last].sort_values(["chosen", "combined_rank"], ascending=[False, True])
        number = f"{len(finalists)} of {len(rows)}" if len(finalists) < len(rows) else f"{len(rows)}"
        tables.append(_candidate_table(finalists, f"{name}: {number} candidate{'' if len(rows) == 1 else 's'}", metric))
    return Group(*tables)


def _candidate_table(rows: pd.DataFrame, title: str, metric: PrimaryMetric) -> Table:
    """A table without lines, so that the reasons fit into 80 columns."""
    costs = _costs_of(rows)
    table = PlainTable(title=title, title_justify="left", box=None, collapse_padding=True, pad_edge=False)
    for name in (*costs, "search loss", "loss", _short(metric)):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("origin", no_wrap=True)
    table.add_column("reason")
    for row in rows.to_dict("records"):
        table.add_row(
            *(format_count(row[name]) for name in costs),
            "" if pd.isna(row["recorded_loss"]) else f"{row['recorded_loss']:.4f}",
            f"{row['loss']:.4f}",
            metric.text(row["accuracy"]),
            row["origin"],
            row["reason"],
            style="bold green" if row["chosen"] else None,
        )
    return table


def _short(metric: PrimaryMetric) -> str:
    """The name for the head of a column."""
    return "acc." if metric.name == "accuracy" else metric.name


def _costs_of(frame: pd.DataFrame) -> list[str]:
    """The columns of costs, which lie between the text of the architecture and the complexity."""
    names = list(frame.columns)
    return names[names.index("architecture_readable") + 1 : names.index("complexity")]
