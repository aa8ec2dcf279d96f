"""Replaying recorded evaluations through an optimiser, which leads to the distributions of the search again."""

from collections.abc import Callable

import numpy as np

from multinas_ray.core import Optimizer
from multinas_ray.errors import StateError
from multinas_ray.runs.layout import DISTRIBUTIONS, EVALUATIONS, STATE_FILE
from multinas_ray.runs.reading import NO_COPY, Run, proposals_of
from multinas_ray.storage import resolve

MISSING = (
    f"evaluations are missing; restore a copy of them, or delete {STATE_FILE} and the folder {DISTRIBUTIONS} to resume "
    "from those that are there"
)


def tell_recorded(run: Run, optimizer: Optimizer, note_update: Callable[[Optimizer, int], None]) -> None:
    """Tell an optimiser the evaluations that it does not know yet, one update at a time.

    Args:
        run: The record.
        optimizer: An optimiser with the record's settings.
        note_update: Called after each update with the number of the newest round so far.
    """
    rows = run.evaluations
    is_newer = (rows["tell_order"] >= optimizer.num_told).to_numpy()
    if not is_newer.any():
        return
    proposals, rounds = proposals_of(rows[is_newer]), rows["round"].to_numpy()[is_newer]
    losses, complexities = rows["loss"].to_numpy()[is_newer], run.complexities[is_newer]
    start = 0
    while start < len(losses):
        stop = start + optimizer.samples_per_update - optimizer.num_told % optimizer.samples_per_update
        optimizer.tell(proposals[start:stop], losses[start:stop], complexities[start:stop])
        start = min(stop, len(losses))
        note_update(optimizer, int(rounds[start - 1]))


def check_complete(run: Run) -> None:
    """Check that all results from which the distributions learned are there.

    Raises:
        StateError: Some results are missing.
    """
    orders = run.evaluations["tell_order"].to_numpy()
    orders = orders[orders >= 0]
    wrong = np.flatnonzero(orders != np.arange(len(orders)))
    if len(wrong):
        raise StateError(
            f"{resolve(run.path).join(EVALUATIONS)} must have every result once, the first that is missing or repeated "
            f"is at place {wrong[0]} of their order: {NO_COPY}"
        )
    if len(run.distributions) and last_update(run) > len(orders) // int(run.config["optimizer"]["samples_per_update"]):
        raise StateError(
            f"{resolve(run.path).join(EVALUATIONS)} has {len(orders)} results, too few for the recorded update "
            f"{last_update(run)}: {MISSING}"
        )


def last_update(run: Run) -> int:
    """Number of the newest recorded update, 0 before the first."""
    return int(run.distributions["update"].max()) if len(run.distributions) else 0
