"""The rows in the record of a one-shot search, and the round with which a resumed search goes on."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from multinas_ray.core import Optimizer, Proposals
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.schedule import FinishedRound
from multinas_ray.runs import (
    Results,
    ResumedRun,
    RunRecord,
    RunSession,
    load_config,
    make_recorded_optimizer,
    resume_run,
)

SNAPSHOT_INTERVAL_SECONDS = 10.0
"""Time between two snapshots of the optimiser. After a crash, each round since the last one takes about a millisecond
to tell again."""


class RoundRecord:
    """Writes the rounds of a search into its record.

    Args:
        config: The search.
        record: The record.
        optimizer: The distributions.
        earlier_losses: Training losses of the rounds on record, in their order; NaN where there is none.
    """

    def __init__(
        self, config: OneShotSearchConfig, record: RunRecord, optimizer: Optimizer, earlier_losses: Sequence[float] = ()
    ) -> None:
        self._costs, self._record, self._optimizer = config.costs, record, optimizer
        self.earlier_losses = earlier_losses

    @property
    def elapsed_seconds(self) -> float:
        """Wall time of the run over all its sessions."""
        return self._record.elapsed_seconds

    def append(self, finished: FinishedRound) -> None:
        """Make a round and its evaluations durable. Call it before the optimiser is told."""
        if finished.proposals is not None and finished.complexities is not None:
            self._record.append(self._results(finished, finished.proposals, finished.complexities))
        result = finished.result
        self._record.append_round(
            {
                "round": result.round,
                "block": finished.block,
                "trial_id": finished.trial_id,
                "train_loss": None if math.isnan(result.train_loss) else result.train_loss,
                "num_evaluations": len(result.losses),
                "compute_seconds": result.compute_seconds,
                "reduced_bytes": result.reduced_bytes,
                "saved_bytes": result.saved_bytes,
            }
        )

    def observe(self, finished: FinishedRound) -> None:
        """Record the distributions after a round, and save a snapshot at intervals."""
        self._record.note_update(self._optimizer, finished.result.round)
        if self._record.seconds_since_save > SNAPSHOT_INTERVAL_SECONDS:
            self._record.save_soon(self._optimizer, next_round=finished.result.round + 1)

    def save(self, next_round: int) -> None:
        """Write everything, and a snapshot from which the search goes on at `next_round`."""
        self._record.save(self._optimizer, next_round=next_round)

    def close(self) -> None:
        """Bring what is left on this machine into an object store; see `RunRecord.close`."""
        self._record.close()

    def _results(self, finished: FinishedRound, proposals: Proposals, complexities: NDArray[np.float64]) -> Results:
        architectures = proposals.architectures
        return Results.of_checked(
            ids=proposals.ids.tolist(),
            architectures=architectures.tolist(),
            draws=proposals,
            trial_id=finished.trial_id,
            losses=finished.result.losses,
            complexities=complexities.tolist(),
            costs={name: cost(architectures).tolist() for name, cost in self._costs.items()},
            accuracies=finished.result.accuracies,
            round=finished.result.round,
            block=finished.block,
        )


def open_record(config: OneShotSearchConfig, session: RunSession) -> tuple[RoundRecord, Optimizer, int]:
    """Open the record of a search whose configuration is on disk, at its first start or a later one.

    Returns:
        The record, the distributions after everything in it, and the first round that is not in it.

    Raises:
        StateError: Evaluations are damaged or missing.
        StorageError: The file system refused.
    """
    if session.number == 0:
        description = load_config(config.run_path)
        optimizer = make_recorded_optimizer(config.run_path, description)
        record = RunRecord(session, description, config.upload_seconds)
        return RoundRecord(config, record, optimizer), optimizer, 0
    resumed = resume_run(session, upload_seconds=config.upload_seconds)
    losses = resumed.run.rounds["train_loss"].astype(float).tolist()
    rounds, next_round = RoundRecord(config, resumed.record, resumed.optimizer, losses), _next_round(resumed)
    rounds.save(next_round)
    return rounds, resumed.optimizer, next_round


def _next_round(resumed: ResumedRun) -> int:
    """The first round that is neither in the snapshot nor in a table.

    A round that evaluates counts by its evaluations: its own row may be there without them, if a disk has lost them.
    """
    rounds = resumed.run.rounds
    tables = [table for table in (resumed.run.evaluations, rounds[rounds["num_evaluations"] == 0]) if len(table)]
    known = resumed.snapshot.get("next_round")
    return max([known if isinstance(known, int) else 0, *(int(table["round"].max()) + 1 for table in tables)])
