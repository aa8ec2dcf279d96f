"""How a search in a Tune pipeline is opened: anew, or from its record."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from multinas_ray.core import Optimizer, Proposals, make_optimizer, settings_from_dict
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import ConfigSpace, Run, load_config, load_run, proposals_of
from multinas_ray.tune.complexity import Probe, checked_value, probe
from multinas_ray.tune.record import Evaluation, TrialRecord
from multinas_ray.tune.settings import SearchSettings
from multinas_ray.tune.trial_search import TrialSearch, evaluation_of

RECORDED_PACKAGES = ("multinas-ray", "ray", "numpy", "pyarrow")


@dataclass(frozen=True)
class EarlierResult:
    """A result from outside the search."""

    config: dict[str, Any]
    """Constants may be missing."""
    loss: float
    """Minimised; not finite for a failure."""
    complexity: float | None
    """None if it follows from the configuration."""


@dataclass(frozen=True)
class Points:
    """Architectures of the user's, with the ids -1, -2, ...: those to run first, then those with a result."""

    to_run: list[Evaluation]
    known: list[Evaluation]


def checked_points(
    space: ConfigSpace,
    settings: SearchSettings,
    to_run: Sequence[dict[str, Any]],
    known: Sequence[EarlierResult],
) -> Points:
    """Encode the user's points.

    Raises:
        ConfigError: One is not of the space, or the complexity of a result is unknown.
    """
    first = len(to_run)
    return Points(
        [Evaluation(-1 - i, space.encode(config), None) for i, config in enumerate(to_run)],
        [outside_evaluation(space, settings, -1 - first - i, result) for i, result in enumerate(known)],
    )


def outside_evaluation(space: ConfigSpace, settings: SearchSettings, number: int, result: EarlierResult) -> Evaluation:
    """Make an evaluation, which no update may use, of a result from outside.

    Raises:
        ConfigError: The configuration is not of the space, or its complexity is unknown.
    """
    architecture = space.encode(result.config)
    loss = float(result.loss) if np.isfinite(result.loss) else np.inf
    measures, value = settings.complexities, result.complexity
    if not isinstance(measures.measure, str):
        value = checked_value(measures.measure, space.decode(architecture))
    elif value is None and np.isfinite(loss):
        raise ConfigError(
            f"the complexity {measures.measure!r} of results that are not run is unknown; give evaluated_complexities, "
            "one for each point (complexity to add_evaluated_point), or the complexity as a function of the config"
        )
    if value is not None and not (np.isfinite(value) and value >= 0):
        raise ConfigError(f"complexities of results must be finite numbers from 0, got {value} for {result.config}")
    return Evaluation(number, architecture, None, "", loss, {measures.column: None if value is None else float(value)})


def start_search(
    path: str, settings: SearchSettings, space: ConfigSpace, points: Points, metric: str, mode: str
) -> TrialSearch:
    """Open a new search and its record."""
    found = probe(settings.complexities, space, np.random.default_rng([settings.seed, 0]))
    counts = space.search_space.num_categories
    config = {
        "searcher": "MultiNASSearch",
        "seed": settings.seed,
        "restarts": 0,
        "metric": metric,
        "mode": mode,
        "complexity": {
            "name": settings.complexities.column,
            "label": settings.complexities.label,
            "scale": found.scale,
        },
        "optimizer": settings.optimizer_settings(counts, found.cost, found.scale).to_dict(),
        "settings": settings.identity(),
        "space": space.to_plain(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in RECORDED_PACKAGES}},
    }
    record = TrialRecord(path, config, space, list(settings.complexities.measures))
    search = _search(settings, space, record, _optimizer_of(config), found, points, set())
    record_earlier(search, points, set())
    if search.is_calibrated:
        record.note_update(search.optimizer)
    return search


def resume_search(
    path: str,
    settings: SearchSettings,
    space: ConfigSpace | None,
    points_in: Callable[[ConfigSpace], Points],
    snapshot: Any,
) -> TrialSearch:
    """Take a search up from its record.

    The snapshot is loaded, newer rows of the record are folded in, and drawing goes on under new ids from the seed
    (seed, restarts). Running trials of the snapshot stay, unless the record has their result.

    Args:
        path: the record.
        settings: must be those of the start.
        space: the configurations, None to read them from the record.
        points_in: gives the user's points in a space.
        snapshot: `TrialSearch.snapshot`, None if none was saved.

    Raises:
        StateError: the record is damaged, or is another search's.
    """
    config = load_config(path)
    _check_identity(config, settings, path)
    recorded = ConfigSpace.from_plain(config["space"])
    space = recorded if space is None else space
    if space.to_plain() != recorded.to_plain():
        raise StateError(
            f"param_space differs from the one recorded in {path}; give the one that the search began with"
        )
    if not space.is_whole:
        raise StateError(
            f"the record {path} cannot hold some values of param_space, such as objects; give the same param_space to "
            "Tuner.restore"
        )
    config = {**config, "restarts": int(config["restarts"]) + 1}
    record = TrialRecord(path, config, space, list(settings.complexities.measures))
    return _fold(load_run(path), record, settings, space, points_in(space), snapshot)


def _fold(
    run: Run, record: TrialRecord, settings: SearchSettings, space: ConfigSpace, points: Points, snapshot: Any
) -> TrialSearch:
    """The search after everything on record."""
    config, rows = record.config, run.evaluations
    seed = (int(config["seed"]), int(config["restarts"]))
    coefficients, scale = config["optimizer"]["coefficients"], config["complexity"]["scale"]
    is_calibrated = coefficients is not None and scale is not None
    optimizer = _optimizer_of(config)
    if is_calibrated and snapshot is not None:
        optimizer = _loaded(config, settings, snapshot)
    live = _still_live(snapshot, rows)
    numbers = {*rows["id"], *(each.number for each in live)}
    _go_on(record, run, optimizer)
    search = _search(settings, space, record, optimizer, Probe(scale, None), points, numbers, coefficients)
    search.finished = set(rows["trial_id"])
    evaluations = _evaluations_of(rows, settings) if settings.skips_known or not is_calibrated else []
    for each in evaluations:
        search.remember(each)
    for each in live:
        search.run(each)
    held = [] if is_calibrated else [each for each in evaluations if each.proposal is not None]
    draws = [each.proposal for each in (*live, *held) if each.proposal is not None]
    if is_calibrated:
        _tell_newer(search, run)
    keep = Proposals.concatenate(draws) if draws else None
    optimizer.restart(first_id=max(numbers, default=-1) + 1, seed=seed, keep=keep)
    search.hold(held)
    record_earlier(search, points, numbers)
    return search


def _still_live(snapshot: Any, rows: pd.DataFrame) -> list[Evaluation]:
    """The snapshot's running trials that the record has no result of."""
    finished = set(rows["trial_id"])
    live = [] if snapshot is None else [evaluation_of(each) for each in snapshot["live"]]
    return [each for each in live if each.trial_id not in finished]


def _go_on(record: TrialRecord, run: Run, optimizer: Optimizer) -> None:
    """Let the record go on from its rows, which must hold all that the optimiser was told."""
    rows = run.evaluations
    num_ordered = int((rows["tell_order"] >= 0).sum())
    if num_ordered < optimizer.num_told:
        raise StateError(
            f"{run.path} holds {num_ordered} results, the snapshot was saved after {optimizer.num_told}: rows are "
            "missing; restore them"
        )
    record.go_on(
        num_ordered=num_ordered,
        last_update=int(run.distributions["update"].max()) if len(run.distributions) else -1,
        elapsed_seconds=float(rows["wall_time_seconds"].max()) if len(rows) else 0.0,
    )


def record_earlier(search: TrialSearch, points: Points, numbers: set[int]) -> None:
    """Record the user's own results, but those in `numbers`, which are on record."""
    for point in points.known:
        if point.number not in numbers:
            search.settle(point)


def _search(
    settings: SearchSettings,
    space: ConfigSpace,
    record: TrialRecord,
    optimizer: Optimizer,
    found: Probe,
    points: Points,
    numbers: set[int],
    coefficients: Sequence[float] | None = None,
) -> TrialSearch:
    """A search whose points are handed out but those in `numbers`."""
    coefficients = settings.coefficients if coefficients is None else coefficients
    return TrialSearch(
        settings=settings,
        space=space,
        record=record,
        optimizer=optimizer,
        coefficients=None if coefficients is None else tuple(coefficients),
        scale=found.scale,
        points=[point for point in points.to_run if point.number not in numbers],
        next_untold=min([0, -len(points.to_run) - len(points.known), *numbers]) - 1,
    )


def _optimizer_of(config: dict[str, Any]) -> Optimizer:
    """The optimiser of recorded settings at its start."""
    return make_optimizer(settings_from_dict(config["optimizer"]), seed=int(config["seed"]))


def _loaded(config: dict[str, Any], settings: SearchSettings, snapshot: Any) -> Optimizer:
    """The optimiser of a snapshot, which may be older than the coefficients."""
    if snapshot["is_calibrated"]:
        optimizer = _optimizer_of(config)
        optimizer.load_state_dict(snapshot["optimizer"])
        return optimizer
    given = None if settings.coefficients is None else list(settings.coefficients)
    optimizer = _optimizer_of({**config, "optimizer": {**config["optimizer"], "coefficients": given}})
    optimizer.load_state_dict(snapshot["optimizer"])
    optimizer.set_coefficients(config["optimizer"]["coefficients"])
    return optimizer


def _tell_newer(search: TrialSearch, run: Run) -> None:
    """Fold the rows that the snapshot does not know, an update at a time."""
    optimizer, rows = search.optimizer, run.evaluations
    is_newer = (rows["tell_order"] >= optimizer.num_told).to_numpy()
    search.record.note_update(optimizer)
    if not is_newer.any():
        return
    proposals, complexities = proposals_of(rows[is_newer]), run.complexities[is_newer]
    losses, start = rows["loss"].to_numpy()[is_newer], 0
    while start < len(losses):
        stop = start + optimizer.samples_per_update - optimizer.num_told % optimizer.samples_per_update
        optimizer.tell(proposals[start:stop], losses[start:stop], complexities[start:stop])
        search.record.note_update(optimizer)
        start = stop


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
            trial_id=row["trial_id"],
            loss=row["loss"],
            costs={name: None if np.isnan(row[name]) else row[name] for name in columns},
            reused_id=None if np.isnan(row["reused_id"]) else int(row["reused_id"]),
        )
        for i, row in enumerate(records)
    ]


def _check_identity(config: dict[str, Any], settings: SearchSettings, path: str) -> None:
    if config.get("searcher") != "MultiNASSearch":
        raise StateError(f"{path} is not the record of a MultiNASSearch; give another record_path")
    recorded, given = config["settings"], settings.identity()
    different = [name for name in given if recorded.get(name) != given[name]]
    if different:
        raise StateError(
            f"{path} was searched with other settings: "
            + ", ".join(f"{name} was {recorded.get(name)!r}, is {given[name]!r}" for name in different)
            + "; give those of the start, or another record_path"
        )
