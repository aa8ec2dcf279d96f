"""The record on disk of a search in a Tune pipeline: configuration, evaluations, distributions."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from multinas_ray.core import Optimizer, Proposals
from multinas_ray.runs import (
    DISTRIBUTIONS,
    EVALUATIONS,
    ConfigSpace,
    config_metadata,
    consuming_update,
    distribution_columns,
    distributions_schema,
    journal_header,
    tune_evaluations_schema,
    write_config,
)
from multinas_ray.storage import JournaledWriter, TableWriter, resolve

DISTRIBUTION_ROWS_PER_PART = 1024
"""A search moves its distributions often; small parts keep the rewriting of the open one cheap."""


@dataclass(frozen=True)
class Evaluation:
    """One architecture and what its evaluation gave."""

    number: int
    """Its id: from 0 for a draw, negative for one of no known density."""
    architecture: tuple[int, ...]
    """(D,) index of each variable's choice."""
    proposal: Proposals | None
    """The draw, one row; None if no update may use it."""

    trial_id: str = ""
    """Tune's id of the trial that ran it."""
    loss: float = float("inf")
    """Minimised; inf for a failed evaluation."""
    costs: dict[str, float | None] | None = None
    """Raw complexities by column."""
    reused_id: int | None = None
    """Id of the evaluation whose result this one repeats."""

    def raw(self, column: str) -> float:
        """The complexity of the search; NaN if it is not known."""
        value = (self.costs or {}).get(column)
        return float("nan") if value is None else value

    def complexity(self, column: str, scale: float) -> float:
        """The normalised complexity; NaN for a failed evaluation."""
        return self.raw(column) / scale if np.isfinite(self.loss) else float("nan")


class TrialRecord:
    """Writes a search's record. Evaluations are durable when `append` returns; distributions follow from them.

    Args:
        path: folder of the run; its config.json is written here.
        config: the run's configuration, plain data with a section `optimizer`.
        space: the configurations.
        columns: columns of the complexities, that of the search first.
    """

    def __init__(self, path: str, config: dict[str, Any], space: ConfigSpace, columns: list[str]) -> None:
        self.path = path
        self.config = config
        write_config(path, config)
        metadata = config_metadata(config)
        place = resolve(path)
        self._space, self._columns = space, columns
        self._names = [[str(choice) for choice in variable.choices] for variable in space.search_space.variables]
        self._evaluations = JournaledWriter(
            place.join(EVALUATIONS), tune_evaluations_schema(columns), journal_header(columns), metadata
        )
        self._distributions = TableWriter(
            place.join(DISTRIBUTIONS), distributions_schema(), metadata, DISTRIBUTION_ROWS_PER_PART
        )
        self._updates: list[dict[str, Any]] = []
        self._started_seconds = time.monotonic()
        self._num_ordered = 0
        self._last_update = -1

    def go_on(self, *, num_ordered: int, last_update: int, elapsed_seconds: float) -> None:
        """Take the counts over that an earlier session of the run has come to."""
        self._num_ordered, self._last_update = num_ordered, last_update
        self._started_seconds = time.monotonic() - elapsed_seconds

    def update_config(self, **changes: Any) -> None:
        """Replace parts of the configuration, atomically."""
        self.config = {**self.config, **changes}
        write_config(self.path, self.config)

    def append(self, evaluation: Evaluation, scale: float | None) -> None:
        """Make an evaluation durable. Call it before the optimiser is told.

        One that repeats a known result can be had again at no cost: a crash of this process does not lose it, one of
        the machine may, if no other evaluation has followed.

        Args:
            evaluation: what was evaluated, and what came out.
            scale: the complexity that counts as 1, None while unknown.
        """
        self._evaluations.append(self._row(evaluation, scale), sync=evaluation.reused_id is None)
        self._num_ordered += evaluation.proposal is not None

    def note_update(self, optimizer: Optimizer) -> None:
        """Note the distributions after an update; they are written with the next flush."""
        if optimizer.num_updates <= self._last_update:
            return
        self._last_update = optimizer.num_updates
        search_space = self._space.search_space
        self._updates.append(
            distribution_columns(
                update=optimizer.num_updates,
                round_number=optimizer.num_updates - 1,
                probs=optimizer.probs,
                num_categories=search_space.num_categories,
                diagnostics=optimizer.diagnostics(),
                readable=self._readable,
            )
        )
        if len(self._updates) * optimizer.num_distributions >= DISTRIBUTION_ROWS_PER_PART // 2:
            self._flush_distributions()

    def flush(self) -> None:
        """Write everything as Parquet."""
        self._evaluations.flush()
        self._flush_distributions()

    def _flush_distributions(self) -> None:
        """Write many updates at once, which costs a fraction of writing each."""
        if self._updates:
            self._distributions.append(
                {name: _joined([each[name] for each in self._updates]) for name in self._updates[0]}
            )
            self._updates = []

    def _readable(self, architecture: tuple[int, ...]) -> str:
        return " ".join([names[index] for names, index in zip(self._names, architecture, strict=True)])

    def _row(self, evaluation: Evaluation, scale: float | None) -> dict[str, Any]:
        proposal = evaluation.proposal
        costs = evaluation.costs or {}
        order = -1 if proposal is None else self._num_ordered
        samples = int(self.config["optimizer"]["samples_per_update"])
        update = -1 if proposal is None else int(consuming_update(np.array(order), samples))
        return {
            "id": evaluation.number,
            "round": -1 if proposal is None else update - 1,
            "block": -1,
            "trial_id": evaluation.trial_id,
            "source": -1 if proposal is None else int(proposal.sources[0]),
            "architecture": evaluation.architecture,
            "architecture_readable": self._readable(evaluation.architecture),
            "loss": evaluation.loss,
            "accuracy": None,
            **{column: costs.get(column) for column in self._columns},
            "reused_id": evaluation.reused_id,
            "complexity": None if scale is None else evaluation.complexity(self._columns[0], scale),
            "log_q": 0.0 if proposal is None else float(proposal.log_q[0]),
            "drawn_at_update": -1 if proposal is None else int(proposal.drawn_at[0]),
            "tell_order": order,
            "update": update,
            "wall_time_seconds": time.monotonic() - self._started_seconds,
            "timestamp": time.time_ns() // 1000,
        }


def _joined(parts: list[Any]) -> Any:
    """The rows of one column, one part after the other."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]
