"""Tables of the chosen networks and of what they were chosen among."""

# K networks

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from multinas_ray.errors import StateError
from multinas_ray.report.networks import ToldFamily
from multinas_ray.report.positions import Position
from multinas_ray.report.wording import (
    UNKNOWN,
    Column,
    Table,
    cost,
    cost_name,
    fixed,
    is_known,
    limits_text,
    number,
    percent,
)
from multinas_ray.runs import Run, architectures_schema, candidates_schema
from multinas_ray.tune import best_configs, pareto_front

_ORIGINS = {"mode": "mode", "evaluated": "evaluated", "drawn": "fresh draw", "cheapest": "cheapest"}
_MOST_CHANGES = 4  # positions in which a candidate may differ to be told by them
_MOST_FRONT = 60  # configurations of a front


@dataclass(frozen=True)
class CandidateGroup:
    """What one network was chosen among."""

    title: str
    table: Table
    chosen: int | None
    """Its row."""


def cost_columns(frame: pd.DataFrame, known: Sequence[str]) -> list[str]:
    """Columns of raw costs: numbers that the schema does not know."""
    return [str(name) for name in frame if name not in known and pd.api.types.is_numeric_dtype(frame[name])]


def networks_table(run: Run, family: ToldFamily) -> Table | None:
    """The K networks, small to large; None until they are chosen."""
    networks = family.networks
    if networks.empty:
        return None
    costs = cost_columns(networks, architectures_schema(()).names)
    complexity = str((run.config.get("complexity") or {}).get("name"))
    columns = [
        Column("#"),
        Column("coefficient", hint="weight of the normalised complexity"),
        Column("target", hint="wanted complexity"),
        Column("budget", is_number=False),
        *(Column(cost_name(name)) for name in costs),
        Column("validation", hint="accuracy on all validation images, with the supernet's weights"),
        Column("test, inherited", hint="accuracy on the test images, with the supernet's weights"),
        Column("test, retrained", hint="accuracy on the test images after training alone"),
        Column(
            "origin",
            is_number=False,
            hint="mode: the likeliest of its distribution; evaluated: best in the search; fresh draw: drawn at the end"
            "; cheapest: of the space",
        ),
        Column("export", is_number=False, hint="largest difference of a logit between a file and the network"),
    ]
    twins = _twins(networks)
    rows = [
        [
            str(row["network"]),
            number(row["coefficient"]),
            UNKNOWN if is_known(row.get("limits")) else cost(complexity, row["target"]),  # else it is the budget
            limits_text(row.get("limits")),
            *(cost(name, row[name]) for name in costs),
            percent(row["supernet_accuracy"]),
            percent(row["supernet_test_accuracy"]),
            percent(row["retrained_accuracy"]),
            _ORIGINS.get(row["origin"], str(row["origin"])) + twins[place],
            _parity_text(family, int(row["network"])),
        ]
        for place, row in enumerate(networks.to_dict("records"))
    ]
    return Table(columns, rows).known()


def _twins(networks: pd.DataFrame) -> list[str]:
    """For each network that equals an earlier one, which."""
    first: dict[Any, int] = {}
    notes = []
    for network, architecture in zip(networks["network"], networks["architecture"], strict=True):
        notes.append(f"\nsame as #{first[architecture]}" if architecture in first else "")
        first.setdefault(architecture, int(network))
    return notes


def _parity_text(family: ToldFamily, network: int) -> str:
    files = family.parity.get(network, {}).get("files")
    if not isinstance(files, dict) or not files:
        return UNKNOWN
    worst = {str(name): each.get("max_abs_difference") for name, each in files.items()}
    return "\n".join(f"{name.rpartition('.')[2]} {number(value, 2)}" for name, value in worst.items())


def candidate_groups(family: ToldFamily, positions: Sequence[Position]) -> list[CandidateGroup]:
    """Every candidate of every network, and why it was chosen or not.

    A candidate that differs from the chosen one in few positions is told by these.
    """
    frame = family.candidates
    costs = cost_columns(frame, candidates_schema(()).names)
    columns = [
        Column("candidate", is_number=False, wraps=True),
        Column("origin", is_number=False),
        *(Column(cost_name(name)) for name in costs),
        Column("loss in the search"),
        Column("loss", hint="on all validation images"),
        Column("accuracy", hint="on all validation images"),
        Column("objective", hint="loss + coefficient * complexity, or the loss within limits"),
        Column("why", is_number=False, wraps=True),
    ]
    groups = []
    for network, rows in frame.groupby("network", sort=True):
        ordered = rows.sort_values(["chosen", "within_budget", "objective"], ascending=[False, False, True])
        chosen = rows.loc[rows["chosen"], "architecture"]
        reference = chosen.iloc[0] if len(chosen) else ()
        cells = [
            [
                _candidate_text(row, reference, positions),
                _ORIGINS.get(row["origin"], str(row["origin"])),
                *(cost(name, row[name]) for name in costs),
                fixed(row["recorded_loss"]),
                fixed(row["loss"]),
                percent(row["accuracy"]),
                fixed(row["objective"]),
                str(row["reason"]),
            ]
            for row in ordered.to_dict("records")
        ]
        is_met = bool(rows["chosen"].any())
        title = f"Network #{network}" if is_met else f"Goal {network}: no candidate meets it"
        groups.append(CandidateGroup(title, Table(columns, cells).known(), 0 if is_met else None))
    return groups


def _candidate_text(row: Mapping[Any, Any], reference: Sequence[int], positions: Sequence[Position]) -> str:
    """The architecture, or where it differs from the chosen one."""
    architecture = row["architecture"]
    full = str(row["architecture_readable"])
    if row["chosen"] or not len(architecture) == len(reference) == len(positions):
        return full
    changes = [
        f"{position.name} {position.options[option].label}"
        for position, option, other in zip(positions, architecture, reference, strict=True)
        if option != other
    ]
    if not changes:
        return "the same architecture"
    return f"with {', '.join(changes)}" if len(changes) <= _MOST_CHANGES else full


def chosen_configs(run: Run) -> pd.DataFrame:
    """The answers of a search in a Tune pipeline, from small to large; empty for other runs, and while there is none.

    Columns of `best_configs`, and those of `architectures_schema` that a picture needs: `network`, `architecture`, the
    complexity under its column's name, and `supernet_loss`, which is the loss of the evaluation here.
    """
    if run.kind != "tune":
        return pd.DataFrame()
    try:
        frame = best_configs(run)
    except StateError:  # no successful evaluation yet
        return pd.DataFrame()
    label, column = str(run.config["complexity"]["label"]), str(run.config["complexity"]["name"])
    frame = frame.sort_values(label, kind="stable").reset_index(drop=True)
    met = run.evaluations[run.evaluations["id"].isin(frame["evaluation_id"].dropna().astype(int))]
    rows_by_id: dict[int, dict[Any, Any]] = {int(row["id"]): row for row in met.to_dict("records")}
    rows = [rows_by_id[int(number)] if is_known(number) else None for number in frame["evaluation_id"]]
    return frame.assign(
        network=range(len(frame)),
        architecture=pd.Series([(place,) if row is None else row["architecture"] for place, row in enumerate(rows)]),
        supernet_loss=[np.nan if row is None else float(row["loss"]) for row in rows],
        **{column: [np.nan if row is None else float(row[column]) for row in rows]},
    )


def configs_table(run: Run, chosen: pd.DataFrame) -> Table | None:
    """The answers of a search in a Tune pipeline, see `chosen_configs`; None where there are none."""
    if chosen.empty:
        return None
    metric, label = str(run.config["metric"]), str(run.config["complexity"]["label"])
    shared = [name for name in ("coefficient", "target") if name in chosen]
    rows = []
    for row in chosen.to_dict("records"):
        found = config_text(row["config"])
        if not row.get("is_met", True):
            found = f"none is so small; the least is {number(row['nearest_complexity'], 4)}"
        cells = [
            str(row["network"]),
            *(number(row[name]) for name in shared),
            number(row[metric], 4),
            number(row[label], 4),
        ]
        rows.append([*cells, str(row["trial_id"]) if is_known(row["trial_id"]) else UNKNOWN, found])
    columns = [Column("#"), *map(Column, shared), Column(metric), Column(label)]
    return Table(
        [*columns, Column("trial", is_number=False), Column("configuration", is_number=False, wraps=True)], rows
    ).known()


def front_table(run: Run) -> Table | None:
    """The evaluations that no other beats; None for runs that are no search in a Tune pipeline."""
    if run.kind != "tune" or run.evaluations.empty:
        return None
    frame = pareto_front(run)
    metric, label = str(run.config["metric"]), str(run.config["complexity"]["label"])
    shown = frame.iloc[np.unique(np.linspace(0, len(frame) - 1, min(len(frame), _MOST_FRONT)).astype(int))]
    rows = [
        [number(row[label], 4), number(row[metric], 4), str(row["trial_id"]), config_text(row["config"])]
        for row in shown.to_dict("records")
    ]
    columns = [
        Column(label),
        Column(metric),
        Column("trial", is_number=False),
        Column("configuration", is_number=False, wraps=True),
    ]
    caption = "" if len(shown) == len(frame) else f"{len(shown)} of {len(frame)}, evenly along the front"
    return Table(columns, rows, caption) if rows else None


def config_text(config: Any, prefix: str = "") -> str:
    """A configuration flat: depth=2, net/width=8."""
    if not isinstance(config, dict):
        return str(config)
    parts = [
        config_text(value, f"{prefix}{name}/") if isinstance(value, dict) else f"{prefix}{name}={_short(value)}"
        for name, value in config.items()
    ]
    return ", ".join(part for part in parts if part)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
