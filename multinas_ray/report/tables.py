"""Tables of the chosen networks, and of the candidates among which they were chosen."""

# K networks

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from multinas_ray.errors import StateError
from multinas_ray.report.networks import ReportedFamily
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
    plural,
)
from multinas_ray.runs import PrimaryMetric, Run, architectures_schema, candidates_schema, primary_metric
from multinas_ray.tune import best_configs, pareto_front

_ORIGINS = {"drawn": "fresh draw", "mutated": "mutation", "slice": "from the slice"}
_MOST_CHANGES = 4  # a candidate that differs in more positions is written out in full
_MOST_FRONT = 60  # configurations of a front that are shown


@dataclass(frozen=True)
class CandidateGroup:
    """The candidates of one network."""

    title: str
    number: str
    """How many there are, and how many of them are in the table."""
    table: Table
    """Those of the last rung of successive halving."""
    chosen: int | None
    """The row of the chosen candidate; None if none was chosen."""


def cost_columns(frame: pd.DataFrame, known: Sequence[str]) -> list[str]:
    """The columns of raw costs: numbers whose names are not in the schema."""
    return [str(name) for name in frame if name not in known and pd.api.types.is_numeric_dtype(frame[name])]


def networks_table(run: Run, family: ReportedFamily) -> Table | None:
    """The K networks from small to large; None until they are chosen."""
    networks = family.networks
    if networks.empty:
        return None
    costs = cost_columns(networks, architectures_schema(()).names)
    complexity = str((run.config.get("complexity") or {}).get("name"))
    twins, metric = _twins(networks), primary_metric(run.config)
    rows = [
        [
            str(row["network"]),
            number(row["coefficient"]),
            UNKNOWN if is_known(row.get("limits")) else cost(complexity, row["target"]),  # else it is the budget
            limits_text(row.get("limits")),
            *(cost(name, row[name]) for name in costs),
            _told(metric, row["supernet_accuracy"]),
            _told(metric, row["supernet_test_accuracy"]),
            _told(metric, row["retrained_accuracy"]),
            _ORIGINS.get(row["origin"], str(row["origin"])) + twins[place],
            _parity_text(family, int(row["network"])),
        ]
        for place, row in enumerate(networks.to_dict("records"))
    ]
    return Table(_network_columns(costs, metric), rows).known()


def _told(metric: PrimaryMetric, value: Any) -> str:
    """A figure of the primary metric: a share in percent, or another number."""
    return percent(value) if metric.is_share else fixed(value)


def _network_columns(costs: Sequence[str], metric: PrimaryMetric) -> list[Column]:
    return [
        Column("#"),
        Column("coefficient", hint="weight of the complexity in the objective"),
        Column("target", hint="the complexity near which the distribution searched"),
        Column("budget", is_number=False, hint="the limits that the network had to keep"),
        *(Column(cost_name(name)) for name in costs),
        Column("validation", hint=f"{metric.name} on all validation {metric.samples}, with the supernet's weights"),
        Column("test, inherited", hint=f"{metric.name} on the test {metric.samples}, with the supernet's weights"),
        Column(
            "test, retrained", hint=f"{metric.name} on the test {metric.samples} after the network was trained alone"
        ),
        Column(
            "origin",
            is_number=False,
            hint="mode: the likeliest architecture of a distribution; evaluated: among the best that the search "
            "evaluated; fresh draw: drawn from a distribution at the end; mutation: one of the best with one or two "
            "blocks changed; from the slice: drawn uniformly from the last part of the budget; cheapest: the cheapest "
            "of the space",
        ),
        Column(
            "export",
            is_number=False,
            hint="largest difference between an output of the exported file and of the network; with --quantise also "
            f"the share of the test {metric.samples} that the file has right",
        ),
    ]


def _twins(networks: pd.DataFrame) -> list[str]:
    """A note for each network that equals an earlier one."""
    first: dict[Any, int] = {}
    notes = []
    for network, architecture in zip(networks["network"], networks["architecture"], strict=True):
        notes.append(f"\nsame as #{first[architecture]}" if architecture in first else "")
        first.setdefault(architecture, int(network))
    return notes


def _parity_text(family: ReportedFamily, network: int) -> str:
    files = family.parity.get(network, {}).get("files")
    if not isinstance(files, dict) or not files:
        return UNKNOWN
    return "\n".join(_file_text(str(name), each) for name, each in files.items())


def _file_text(name: str, parity: Mapping[str, Any]) -> str:
    """The difference of an exported file from the network, and its accuracy on the test images where it is known."""
    stem, _, kind = name.rpartition(".")
    accuracy = parity.get("test_accuracy")
    right = "" if accuracy is None else f", {accuracy:.2%} right"
    return f"{'int8 ' if stem.endswith('_int8') else ''}{kind} {number(parity.get('max_abs_difference'), 2)}{right}"


def candidate_groups(
    family: ReportedFamily, positions: Sequence[Position], metric: PrimaryMetric
) -> list[CandidateGroup]:
    """The candidates of every network that were evaluated on all validation images, and why each was chosen or not.

    A candidate that differs from the chosen one in few positions is described by these positions.
    """
    frame = family.candidates
    costs = cost_columns(frame, candidates_schema(()).names)
    columns = _candidate_columns(costs, metric)
    groups = []
    for network, rows in frame.groupby("network", sort=True):
        finalists = rows[rows["rung"] == frame["rung"].max()]
        ordered = finalists.sort_values(["chosen", "within_budget", "combined_rank"], ascending=[False, False, True])
        chosen = rows.loc[rows["chosen"], "architecture"]
        reference = chosen.iloc[0] if len(chosen) else ()
        cells = [
            [
                _candidate_text(row, reference, positions),
                _ORIGINS.get(row["origin"], str(row["origin"])),
                *(cost(name, row[name]) for name in costs),
                fixed(row["recorded_loss"]),
                fixed(row["loss"]),
                _told(metric, row["accuracy"]),
                fixed(row["objective"]),
                fixed(row["combined_rank"]),
                str(row["reason"]),
            ]
            for row in ordered.to_dict("records")
        ]
        is_met = bool(rows["chosen"].any())
        title = f"Network #{network}" if is_met else f"Goal {network}, met by no candidate"
        groups.append(
            CandidateGroup(
                title, _number_text(rows, finalists, metric), Table(columns, cells).known(), 0 if is_met else None
            )
        )
    return groups


def _candidate_columns(costs: Sequence[str], metric: PrimaryMetric) -> list[Column]:
    hint = f"with the supernet's weights, on all validation {metric.samples}"
    return [
        Column("candidate", is_number=False, wraps=True),
        Column("origin", is_number=False),
        *(Column(cost_name(name)) for name in costs),
        Column("search loss", hint="mean of its losses during the search"),
        Column("loss", hint=hint),
        Column(metric.name, hint=hint),
        Column("objective", hint="loss + coefficient * complexity, or the loss alone within a budget"),
        Column("rank", hint="combined rank by objective and prior among those that may be chosen; the least is chosen"),
        Column("reason", is_number=False, wraps=True),
    ]


def _number_text(rows: pd.DataFrame, finalists: pd.DataFrame, metric: PrimaryMetric) -> str:
    """Candidates of a network and their origins; how many of them were evaluated on all samples."""
    counts = rows["origin"].map(lambda origin: _ORIGINS.get(origin, str(origin))).value_counts()
    origins = ", ".join(f"{count} {origin}" for origin, count in counts.items())
    text = f"{plural(len(rows), 'candidate')} ({origins})"
    if len(finalists) < len(rows):
        text += f", of which {len(finalists)} were evaluated on all {metric.samples}"
    return text


def _candidate_text(row: Mapping[Any, Any], reference: Sequence[int], positions: Sequence[Position]) -> str:
    """The architecture, or the positions in which it differs from the chosen one."""
    architecture = row["architecture"]
    full = str(row["architecture_readable"])
    if row["chosen"] or not len(architecture) == len(reference) == len(positions):
        return full
    changes = [
        f"{position.name} {position.options[option].label}"
        for position, option, other in zip(positions, architecture, reference, strict=True)
        if option != other and position.is_used(architecture)
    ]
    if not changes:
        return "the same architecture"
    return f"with {', '.join(changes)}" if len(changes) <= _MOST_CHANGES else full


def chosen_configs(run: Run) -> pd.DataFrame:
    """The best configurations of a Tune search, from small to large; empty for other runs and before the first result.

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
    """The best configurations of a Tune search, see `chosen_configs`; None if there are none."""
    if chosen.empty:
        return None
    metric, label = str(run.config["metric"]), str(run.config["complexity"]["label"])
    shared = [name for name in ("coefficient", "target") if name in chosen]
    rows = []
    for row in chosen.to_dict("records"):
        found = config_text(row["config"])
        if not row.get("is_met", True):
            found = f"no trial is within the target; the smallest has {number(row['nearest_complexity'], 4)}"
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
    """The evaluations on the Pareto front of a Tune search; None for other runs."""
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
    caption = (
        ""
        if len(shown) == len(frame)
        else f"{len(shown)} of {len(frame)} configurations, spread evenly along the front"
    )
    return Table(columns, rows, caption) if rows else None


def config_text(config: Any, prefix: str = "") -> str:
    """A configuration in one line, such as depth=2, net/width=8."""
    if not isinstance(config, dict):
        return str(config)
    parts = [
        config_text(value, f"{prefix}{name}/") if isinstance(value, dict) else f"{prefix}{name}={_short(value)}"
        for name, value in config.items()
    ]
    return ", ".join(part for part in parts if part)


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
