"""Resuming a search of any kind from its record.

The newest snapshot is loaded, the evaluations that it does not know are told in their order, and ids continue after
those of the record. Draws come from the seed (seed, session number), since the snapshot's own generator was used for
draws after the snapshot.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multinas_ray.core import Optimizer, Proposals
from multinas_ray.errors import StateError
from multinas_ray.runs.configuration import load_config, make_recorded_optimizer
from multinas_ray.runs.layout import EVALUATIONS, STATE_FILE
from multinas_ray.runs.reading import Run, load_run, proposals_of
from multinas_ray.runs.recording import RunRecord, take_up_unsent
from multinas_ray.runs.repairing import repair_run
from multinas_ray.runs.replaying import MISSING, check_complete, last_update, tell_recorded
from multinas_ray.runs.sessions import RunSession
from multinas_ray.runs.snapshots import load_snapshot
from multinas_ray.settings import PositiveFloat, checked, checked_arguments
from multinas_ray.storage import resolve

logger = logging.getLogger(__name__)


@checked
@dataclass(frozen=True, eq=False)
class ResumedRun:
    """A search that was resumed."""

    record: RunRecord
    optimizer: Optimizer
    """The optimiser, which was told all recorded results, or none while coefficients or scale are not known."""
    run: Run
    """The record so far."""
    snapshot: Mapping[str, Any]
    """Data that the search had saved besides the optimiser; empty if there was no snapshot."""


@checked_arguments
def resume_run(
    session: RunSession, keep: Proposals | None = None, upload_seconds: PositiveFloat | None = None
) -> ResumedRun:
    """Resume a search from its record. Damaged files that can be computed from the evaluations are rebuilt first.

    If the record lies in an object store, rows that an earlier driver of this machine has left on its disk come into it
    before, unless a driver of another machine has gone on in between.

    Args:
        session: The new start of its driver.
        keep: Draws whose results may still come; those that are recorded are left out.
        upload_seconds: As for `RunRecord`.

    Returns:
        The search. Recorded draws that were not told yet may still be told.

    Raises:
        StateError: Evaluations are damaged or missing, or the configuration is damaged.
        StorageError: The file system refused.
    """
    if (taken_up := take_up_unsent(session, load_config(session.run_path))) is not None:
        logger.warning("%s", taken_up)
    for told in repair_run(session):
        logger.warning("%s", told)
    run = load_run(session.run_path)
    check_complete(run)
    optimizer, snapshot = _newest_state(run)
    record = RunRecord(session, run.config, upload_seconds)
    record.go_on(
        num_ordered=int((run.evaluations["tell_order"] >= 0).sum()),
        last_update=last_update(run),
        elapsed_seconds=max(run.elapsed_seconds, float(snapshot.get("elapsed_seconds", 0.0))),
        rounds=run.rounds["round"].tolist(),
    )
    if run.is_calibrated:
        tell_recorded(run, optimizer, record.note_update)
    ids = run.evaluations["id"].to_numpy()
    kept = [] if keep is None else [keep]
    if not run.is_calibrated and (run.evaluations["tell_order"] >= 0).any():
        kept.append(proposals_of(run.evaluations[run.evaluations["tell_order"] >= 0]))
    optimizer.restart(
        first_id=int(ids.max(initial=-1)) + 1,
        seed=(int(run.config["seed"]), session.number),
        keep=Proposals.concatenate(kept) if kept else None,
    )
    return ResumedRun(record, optimizer, run, snapshot)


def _newest_state(run: Run) -> tuple[Optimizer, dict[str, Any]]:
    """The optimiser and the data saved with it, from the snapshot if it can be used.

    A snapshot that is newer than the recorded distributions cannot be used, since the distributions in between are
    recorded while evaluations are told.
    """
    optimizer, snapshot = make_recorded_optimizer(run.path, run.config), load_snapshot(run.path)
    if snapshot is None:
        return optimizer, {}
    try:
        optimizer.load_state_dict(snapshot["optimizer"])
    except StateError as error:
        logger.warning("%s does not fit this run (%s): all evaluations are replayed.", STATE_FILE, error)
        return optimizer, snapshot
    num_ordered = int((run.evaluations["tell_order"] >= 0).sum())
    if num_ordered < optimizer.num_told:
        raise StateError(
            f"{resolve(run.path).join(EVALUATIONS)} has {num_ordered} results, {STATE_FILE} was saved after "
            f"{optimizer.num_told}: {MISSING}"
        )
    if optimizer.num_updates > last_update(run):
        return make_recorded_optimizer(run.path, run.config), snapshot
    return optimizer, snapshot
