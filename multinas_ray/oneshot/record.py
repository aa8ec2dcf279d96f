"""The record of a search on disk, and how a run is opened anew or taken up again from it."""

from __future__ import annotations

import time

import numpy as np

from multinas_ray.core import Optimizer
from multinas_ray.errors import StateError
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.schedule import FinishedRound
from multinas_ray.runs import (
    DISTRIBUTIONS,
    EVALUATIONS,
    ROUNDS,
    config_metadata,
    distribution_columns,
    distributions_schema,
    evaluation_columns,
    evaluations_schema,
    load_run,
    load_snapshot,
    proposals_of,
    rounds_schema,
    save_snapshot,
)
from multinas_ray.storage import TableWriter, resolve

SNAPSHOT_INTERVAL_SECONDS = 10.0
"""Time between two snapshots of the optimiser; folding what came since costs about a millisecond a round."""


class SearchRecord:
    """Writes a search's evaluations, distributions and snapshots.

    Evaluations are durable before the optimiser is told. Distributions follow from them, so they are buffered and
    written with each snapshot.

    Args:
        config: the search.
        optimizer: its distributions.
        elapsed_seconds: wall time that earlier sessions of the run took.
        last_update: newest update whose distributions are on disk.
    """

    def __init__(
        self,
        config: OneShotSearchConfig,
        optimizer: Optimizer,
        elapsed_seconds: float = 0.0,
        last_update: int = 0,
    ) -> None:
        place = resolve(config.run_path)
        metadata = config_metadata(config.to_dict())
        self._config, self._optimizer = config, optimizer
        self._evaluations = TableWriter(place.join(EVALUATIONS), evaluations_schema(list(config.costs)), metadata)
        self._distributions = TableWriter(place.join(DISTRIBUTIONS), distributions_schema(), metadata)
        self._rounds = TableWriter(place.join(ROUNDS), rounds_schema(), metadata)
        self._started_seconds = time.monotonic() - elapsed_seconds
        self._saved_seconds = time.monotonic()
        self._last_update = last_update

    @property
    def elapsed_seconds(self) -> float:
        """Wall time of the run over all its sessions."""
        return time.monotonic() - self._started_seconds

    def append(self, finished: FinishedRound) -> None:
        """Make a round's evaluations durable. Call it before the optimiser is told."""
        if finished.proposals is None or finished.complexities is None:
            return
        architectures = finished.proposals.architectures
        space = self._config.space
        self._evaluations.append(
            evaluation_columns(
                finished.proposals,
                losses=np.array(finished.result.losses),
                complexities=finished.complexities,
                costs={name: cost(architectures) for name, cost in self._config.costs.items()},
                accuracies=np.array(finished.result.accuracies),
                readable=[space.search_space.describe(row) for row in architectures],
                round_number=finished.round.number,
                block=finished.block,
                trial_id=finished.trial_id,
                first_tell_order=self._optimizer.num_told,
                samples_per_update=self._optimizer.samples_per_update,
                wall_time_seconds=self.elapsed_seconds,
            )
        )

    def observe(self, finished: FinishedRound) -> None:
        """Note a round and the distributions after it; save a snapshot now and then."""
        result = finished.result
        self._rounds.buffer(
            {
                "round": [result.round],
                "block": [finished.block],
                "trial_id": [finished.trial_id],
                "train_loss": [None if np.isnan(result.train_loss) else result.train_loss],
                "num_evaluations": [len(result.losses)],
                "compute_seconds": [result.compute_seconds],
                "reduced_bytes": [result.reduced_bytes],
                "saved_bytes": [result.saved_bytes],
                "wall_time_seconds": [self.elapsed_seconds],
            }
        )
        self.note_update(result.round)
        if time.monotonic() - self._saved_seconds > SNAPSHOT_INTERVAL_SECONDS:
            self.save(result.round + 1)

    def note_update(self, round_number: int) -> None:
        """Note the distributions if a round has moved them."""
        if self._optimizer.num_updates > self._last_update:
            self._last_update = self._optimizer.num_updates
            self._distributions.buffer(self._distribution_columns(round_number))

    def save(self, next_round: int) -> None:
        """Write the buffered distributions and rounds, then a snapshot that stands on them."""
        self._distributions.flush()
        self._rounds.flush()
        state = {
            "next_round": next_round,
            "elapsed_seconds": self.elapsed_seconds,
            "optimizer": self._optimizer.state_dict(),
        }
        save_snapshot(self._config.run_path, state)
        self._saved_seconds = time.monotonic()

    def _distribution_columns(self, round_number: int) -> dict[str, object]:
        search_space = self._config.space.search_space
        return distribution_columns(
            update=self._optimizer.num_updates,
            round_number=round_number,
            probs=self._optimizer.probs,
            num_categories=search_space.num_categories,
            diagnostics=self._optimizer.diagnostics(),
            readable=search_space.describe,
        )


def resume_record(config: OneShotSearchConfig, optimizer: Optimizer, restarts: int) -> tuple[SearchRecord, int]:
    """Take a run up from its record: the snapshot, and every evaluation since, folded into `optimizer`.

    The draws go on from the seed (seed, restarts): the snapshot's own generator has already drawn the rounds that came
    after it.

    Returns:
        The record, and the first round that is not in it.

    Raises:
        StateError: the record or the snapshot is damaged, or they do not belong together.
    """
    run = load_run(config.run_path)
    snapshot = load_snapshot(config.run_path)
    if snapshot is not None:
        optimizer.load_state_dict(snapshot["optimizer"])
    rows = run.evaluations
    if len(rows) < optimizer.num_told:
        raise StateError(
            f"{config.run_path} holds {len(rows)} evaluations, its state.json was saved after {optimizer.num_told}: "
            "evaluations are missing; restore them, or delete state.json to go on from what is there"
        )
    elapsed = max(
        float(rows["wall_time_seconds"].max()) if len(rows) else 0.0,
        float(snapshot["elapsed_seconds"]) if snapshot is not None else 0.0,
    )
    last_update = int(run.distributions["update"].max()) if len(run.distributions) else 0
    record = SearchRecord(config, optimizer, elapsed, last_update)
    newer = rows[rows["tell_order"] >= optimizer.num_told]
    for number, group in newer.groupby("round", sort=True):
        optimizer.tell(proposals_of(group), group["loss"].to_numpy(), group["complexity"].to_numpy())
        record.note_update(int(str(number)))
    next_round = max(
        int(snapshot["next_round"]) if snapshot is not None else 0,
        *(int(table["round"].max()) + 1 if len(table) else 0 for table in (rows, run.rounds)),
    )
    optimizer.restart(first_id=len(rows), seed=(config.seed, restarts))
    record.save(next_round)
    return record, next_round
