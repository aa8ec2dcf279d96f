"""The messages of driver, broker, trials and workers. They are plain data: numpy arrays, numbers and strings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multinas_ray.settings import Measured, checked


@checked
@dataclass(frozen=True, kw_only=True)
class Round:
    """The work of one round, which is the same on every rank: a weight step, then losses on one validation batch.

    The message holds the architectures, and no rank draws any itself.
    """

    number: int
    """Number of the round in the search, from 0. It also decides the batches and the learning rate."""
    train_architectures: NDArray[np.int64] | None
    """(T, D) subnets whose mean training loss the weight step minimises; None: there is no weight step."""
    architectures: NDArray[np.int64] | None
    """(N, D) subnets to evaluate; None in the warm-up."""
    checkpoint: bool = False
    """Whether the workers save a checkpoint after this round. The message says so, so that all ranks agree."""


@checked
@dataclass(frozen=True, kw_only=True)
class RoundResult:
    """The result of one round, averaged over ranks.

    A worker makes it from the numbers of its device; the broker and the trial pass it on. The result of Tune holds its
    fields by their names, and the tables of the record take their columns from it.
    """

    round: int
    """Number of the round."""
    train_loss: Measured
    """Mean training loss before the step; NaN if the round had no weight step."""
    losses: tuple[Measured, ...]
    """Validation loss of each evaluated subnet, in the order of the round; minimised, inf if it was not finite."""
    accuracies: tuple[Measured, ...]
    """Share of the validation batch that was classified correctly, or the primary metric of another task, in the same
    order."""
    compute_seconds: float
    """Time on rank 0 from the start of the round until its results were there."""
    reduced_bytes: int = 0
    """Bytes of gradients that every rank contributed to the all-reduces of the round, for the parameters that the
    training subnets touch; 0 with one worker or without a weight step."""
    saved_bytes: int = 0
    """Bytes of the gradients of all other parameters, which an all-reduce of the whole supernet would have sent too."""
    checkpoint_follows: bool = False
    """Whether the workers save a checkpoint right after this round."""

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> RoundResult:
        """Read the result from a result of Tune, which holds further keys.

        Raises:
            KeyError: a field is missing.
        """
        return cls(**{field.name: report[field.name] for field in fields(cls)})

    def to_report(self) -> dict[str, Any]:
        """Return the fields by their names, and a `loss` that Tune shows for the round."""
        loss = sum(self.losses) / len(self.losses) if self.losses else self.train_loss
        return {**vars(self), "loss": loss}


@dataclass(frozen=True, kw_only=True)
class LostSteps:
    """Says that a worker group has started with weights to which the newest weight steps were not done."""

    weights_round: int
    """The first round that has not changed the weights."""
    number: int
    """Number of weight steps that are lost; they are not repeated."""

    def __str__(self) -> str:
        return (
            f"The search goes on with the weights before round {self.weights_round}: {self.number} weight steps since "
            "the last checkpoint are lost."
        )


@dataclass(frozen=True, kw_only=True)
class Ending:
    """Says that no round follows; the workers save what is wanted and return."""

    checkpoint: bool = True
    """Whether a last checkpoint is saved. It is not after an error, since the run may belong to another driver by
    then."""
    supernet: bool = False
    """Whether the trained supernet is written into the folder of the run, since all rounds are done."""
