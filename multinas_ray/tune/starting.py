"""Opening a search in a Tune pipeline, as a new one or from its record."""

from __future__ import annotations

import logging
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from multinas_ray.core import Optimizer, Proposals
from multinas_ray.errors import StateError
from multinas_ray.runs import (
    Choice,
    ConfigSpace,
    RunRecord,
    RunSession,
    label,
    load_config,
    make_recorded_optimizer,
    proposals_of,
    repair_config,
    resume_run,
    write_config,
)
from multinas_ray.tune.complexity import Probe, probe
from multinas_ray.tune.evaluation import Evaluation, drawn_of
from multinas_ray.tune.given import Points
from multinas_ray.tune.settings import SearchSettings
from multinas_ray.tune.trial_search import TrialSearch, recorded_scales

logger = logging.getLogger(__name__)

RECORDED_PACKAGES = ("multinas-ray", "ray", "numpy", "pyarrow")


def start_search(
    place: tuple[str, str], settings: SearchSettings, space: ConfigSpace, points: Points, objective: tuple[str, str]
) -> TrialSearch:
    """Open a new search and its record.

    Args:
        place: the record's folder, and the id of the search.
        settings: the settings.
        space: the configurations.
        points: the user's points.
        objective: metric and mode.
    """
    path, search_id = place
    rng = np.random.default_rng([settings.seed, 0])
    found = {column: probe(measure, space, rng) for column, measure in settings.complexities.costs.items()}
    config = {"search_id": search_id, **_config_of(settings, space, found, *objective)}
    write_config(path, config)
    record = RunRecord(RunSession.begin(path), config)
    optimizer = make_recorded_optimizer(path, config)
    search = _search(settings, space, record, optimizer, config, points, set())
    record_earlier(search, points, set())
    return search


def _config_of(
    settings: SearchSettings, space: ConfigSpace, found: Mapping[str, Probe], metric: str, mode: str
) -> dict[str, Any]:
    """The content of config.json for a search."""
    measures, names = settings.complexities, settings.complexities.names
    only = next(iter(found.values()))
    scales = {column: settings.largest_target(column) or each.scale for column, each in found.items()}
    if len(found) == 1:
        scales = dict.fromkeys(found, only.scale)
    name = next(iter(names))
    return {
        "kind": "tune",
        "seed": settings.seed,
        "metric": metric,
        "mode": mode,
        "complexity": {"name": name, "label": names[name], **recorded_scales(scales)},
        "costs": list(measures.measures),
        "labels": [
            [label(each, place) for place in range(each.num_values)] if isinstance(each, Choice) else []
            for each in space.variables
        ],
        "optimizer": settings.optimizer_settings(
            space.for_optimizer(), only.cost if len(found) == 1 else None, only.scale
        ).to_dict(),
        "settings": settings.identity(),
        "space": space.to_plain(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in RECORDED_PACKAGES}},
    }


def resume_search(
    path: str, settings: SearchSettings, space: ConfigSpace, points: Points, live: Sequence[Evaluation]
) -> TrialSearch:
    """Resume a search from its record.

    Args:
        path: the record.
        settings: the settings, see `resumed_settings`.
        space: its configurations, see `checked_space`.
        points: the user's points.
        live: trials that Tune was running when it saved its state. They stay, unless the record has their result or
            they were given up since.

    Raises:
        StateError: The record is damaged.
    """
    draws = [each.proposal for each in live if each.proposal is not None]
    resumed = resume_run(RunSession.begin(path), Proposals.concatenate(draws) if draws else None)
    if resumed.record.config["settings"] != settings.identity():
        resumed.record.update_config(settings=settings.identity())
    rows, optimizer = resumed.run.evaluations, resumed.optimizer
    live = _still_running(live, rows, optimizer)
    numbers = {*rows["id"].tolist(), *(each.number for each in live)}
    search = _search(settings, space, resumed.record, optimizer, resumed.run.config, points, numbers)
    search.finished = set(rows["trial_id"][np.isfinite(rows["loss"])])
    is_held = not search.is_calibrated
    evaluations = _evaluations_of(rows, settings) if settings.skips_known or is_held else []
    for each in evaluations:
        search.remember(each)
    for each in live:
        search.run(each)
    if is_held:
        search.hold(each for each in evaluations if each.proposal is not None)
    record_earlier(search, points, numbers)
    return search


def _still_running(live: Sequence[Evaluation], rows: pd.DataFrame, optimizer: Optimizer) -> list[Evaluation]:
    """The trials that have no result on record and were not given up."""
    finished, pending = set(rows["trial_id"]), set(optimizer.pending().ids.tolist())
    return [each for each in live if each.trial_id not in finished and (each.number < 0 or each.number in pending)]


def recorded_config(path: str) -> dict[str, Any]:
    """Read the configuration of a record; a damaged one is rebuilt if possible.

    Raises:
        StateError: It is the record of another kind of search, or its configuration is lost.
    """
    if (repaired := repair_config(path)) is not None:
        logger.warning("%s", repaired)
    config = load_config(path)
    if config["kind"] != "tune":
        raise StateError(
            f"{path} is the record of a one-shot search, not of a MultiNASSearch: give another record_path"
        )
    return config


def checked_space(path: str, config: Mapping[str, Any], space: ConfigSpace | None) -> ConfigSpace:
    """The configurations of a record, which must be of a search with the space, if one is given.

    Raises:
        StateError: It is the record of another search.
    """
    recorded = ConfigSpace.from_plain(config["space"])
    space = recorded if space is None else space
    if space.to_plain() != recorded.to_plain():
        raise StateError(
            f"param_space must be the one recorded in {path}, it differs{_difference(space, recorded)}: give the one "
            "with which the search began, since what was drawn has its density in that one, or begin a new search and "
            "give it the trials by add_evaluated_trials"
        )
    if not space.is_whole:
        raise StateError(
            f"the record {path} cannot hold some values of param_space, such as objects: give the same param_space to "
            "Tuner.restore"
        )
    return space


def record_earlier(search: TrialSearch, points: Points, numbers: set[int]) -> None:
    """Record the user's own results, except those in `numbers`, which are recorded already."""
    for point in points.known:
        if point.number not in numbers:
            search.settle(point)


def _search(
    settings: SearchSettings,
    space: ConfigSpace,
    record: RunRecord,
    optimizer: Optimizer,
    config: Mapping[str, Any],
    points: Points,
    numbers: set[int],
) -> TrialSearch:
    """A search by its configuration; it hands out the user's points except those in `numbers`."""
    coefficients = config["optimizer"]["coefficients"]
    return TrialSearch(
        settings=settings,
        space=space,
        record=record,
        optimizer=optimizer,
        coefficients=None if coefficients is None else tuple(coefficients),
        scales=config["complexity"].get("scales") or {config["complexity"]["name"]: config["complexity"]["scale"]},
        points=[point for point in points.to_run if point.number not in numbers],
        next_untold=min([0, -len(points.to_run) - len(points.known), *numbers]) - 1,
    )


def _evaluations_of(rows: pd.DataFrame, settings: SearchSettings) -> list[Evaluation]:
    if rows.empty:
        return []
    proposals = proposals_of(rows.assign(id=rows["id"].clip(lower=0)))
    columns = list(settings.complexities.measures)
    records: list[Any] = rows.astype(dict.fromkeys([*columns, "reused_id"], float)).to_dict("records")
    return [
        Evaluation(
            number=int(row["id"]),
            architecture=row["architecture"],
            proposal=None if row["tell_order"] < 0 else proposals[i],
            drawn=drawn_of(row),
            trial_id=row["trial_id"],
            loss=row["loss"],
            costs={name: None if np.isnan(row[name]) else row[name] for name in columns},
            reused_id=None if np.isnan(row["reused_id"]) else int(row["reused_id"]),
        )
        for i, row in enumerate(records)
    ]


def _difference(space: ConfigSpace, recorded: ConfigSpace) -> str:
    """The variables in which two spaces differ, as a part of a message."""
    now, then = ({each["name"]: each for each in one.to_plain()["variables"]} for one in (space, recorded))
    names = [name for name in {**then, **now} if now.get(name) != then.get(name)]
    return f" in {', '.join(names)}" if names else ""
