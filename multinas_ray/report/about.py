"""The facts about a run: its state, configuration, versions and sessions."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.report.accounting import wall_seconds
from multinas_ray.report.positions import Position
from multinas_ray.report.wording import Column, Table, cost_name, plural, seconds, value_text, whole
from multinas_ray.runs import Run, primary_metric

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LEFT_OUT = {"cost_table", "base_cost", "num_categories", "fingerprint", "labels"}
_SECTIONS = {
    "settings": "Search",
    "plan": "Rounds",
    "optimizer": "Distributions",
    "complexity": "Complexity",
    "training": "Training of the shared weights",
    "data": "Data",
    "versions": "Versions",
}


@dataclass(frozen=True)
class State:
    """How far a run has progressed."""

    word: str
    """One or two words for it."""
    text: str
    """The same in sentences."""
    is_finished: bool


def name_of(run: Run) -> str:
    """The name of the run, or that of its folder if none is recorded."""
    return str(run.config.get("name") or run.path.rstrip("/").rpartition("/")[2])


def state_of(run: Run) -> State:
    """Describe how far a run has progressed."""
    count, planned = len(run.evaluations), run.config.get("num_evaluations")
    if run.finished is not None:
        reason = run.finished.get("stop_reason")
        early = f" It ended before its plan of {int(planned):,} evaluations: {reason}." if reason and planned else ""
        lost = int(run.finished.get("lost_weight_steps", 0))
        steps = f" {plural(lost, 'weight step')} were lost by restarts and not repeated." if lost else ""
        return State("finished", f"The search is finished.{early}{steps}", True)
    of = f" of {int(planned):,} planned" if isinstance(planned, int) else ""
    text = f"The search has not ended: {plural(count, 'evaluation')}{of} are recorded"
    if run.kind == "tune":
        text = f"The record of a Tune search does not say whether it has ended: {plural(count, 'trial')} are recorded"
    if count:
        newest = run.evaluations["timestamp"].max()
        text += f", the newest at {newest:%Y-%m-%d %H:%M} UTC"
    elif len(run.rounds):
        text += f", {plural(len(run.rounds), 'round')} of training"
    return State(
        "Tune search" if run.kind == "tune" else "not finished",
        f"{text}. This report shows what is known so far.",
        False,
    )


def summary_of(run: Run, positions: Sequence[Position], num_networks: int) -> list[tuple[str, str]]:
    """The headline figures of a run, each with its name."""
    facts = (
        [(f"{'configurations' if run.kind == 'tune' else 'networks'} chosen", whole(num_networks))]
        if num_networks
        else []
    )
    if not num_networks:
        facts.append(("distributions", whole(run.num_distributions)))
    facts.append(("trials" if run.kind == "tune" else "evaluations", whole(len(run.evaluations))))
    if (taken := wall_seconds(run)) is not None:
        facts.append(("wall time", seconds(taken)))
    if positions:
        facts.append((_place_word(run), whole(len(positions))))
        facts.append(("in the space", _size(math.prod(len(each.options) for each in positions))))
    return facts


def _place_word(run: Run) -> str:
    return "variables" if run.kind == "tune" else "positions"


def _size(count: int) -> str:
    """A number of architectures, in powers of ten if it is large."""
    if count < 10_000_000:
        return f"{count:,}"
    exponent = len(str(count)) - 1
    return f"{count / 10**exponent:.1f} × 10{str(exponent).translate(_RAISED)}"  # noqa: RUF001


def lead_of(run: Run, num_networks: int) -> str:
    """Describe in one sentence what was searched for."""
    told = run.config.get("complexity") or {}
    cost = cost_name(str(told.get("label") or told.get("name") or "complexity"))
    count = num_networks or run.num_distributions
    what = plural(count, "configuration" if run.kind == "tune" else "network")
    quality = str(run.config.get("metric") or primary_metric(run.config).name)
    space, data = run.config.get("space") or {}, run.config.get("data") or {}
    where = f", in the space {space['name']}" if "name" in space else ""
    images = f", on the data {data['source']}" if "source" in data else ""
    return f"One search for {what} that weigh {quality} against {cost}{where}{images}."


def configuration_of(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """The recorded settings by section, without the tables of costs and the space."""
    contents = {title: run.config.get(key) for key, title in _SECTIONS.items()}
    sections = [(title, _rows_of(each)) for title, each in contents.items() if isinstance(each, Mapping)]
    others = {name: value for name, value in run.config.items() if name not in _SECTIONS and name not in _LEFT_OUT}
    plain_ones = [(name, value_text(value)) for name, value in others.items() if not isinstance(value, Mapping)]
    space = run.config.get("space")
    if isinstance(space, Mapping) and "fingerprint" in space:
        plain_ones += [("space", str(space.get("name", ""))), ("fingerprint of the space", str(space["fingerprint"]))]
    return [("Run", plain_ones), *sections]


def _rows_of(section: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [(str(name), value_text(value)) for name, value in section.items() if name not in _LEFT_OUT]
    return [row for row in rows if len(row[1]) < 300]


def sessions_of(run: Run, path: str) -> Table | None:
    """Every start of the run's driver; None if none is recorded."""
    folder = storage.resolve(path).join("sessions")
    rows = []
    for name in storage.list_files(folder, ".json"):
        try:
            session: Any = storage.read_plain(folder.join(name))
            started = datetime.datetime.fromisoformat(session["started"])
            rows.append([str(session["session"]), f"{started:%Y-%m-%d %H:%M:%S} UTC", str(session["host"])])
        except (StateError, KeyError, TypeError, ValueError):
            rows.append([name, "not readable", ""])
    columns = [Column("session"), Column("started", is_number=False), Column("on", is_number=False)]
    return Table(columns, rows) if rows else None
