"""What driver, broker, trials and workers say to each other. Plain data: numpy arrays, numbers, strings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round's work, the same on every rank: a weight step, then losses on one shared validation batch.

    The architectures travel in the message; no rank draws any itself.
    """

    number: int
    """Position in the search, from 0; it also decides the batches and the learning rate."""
    train_architectures: NDArray[np.int64] | None
    """(T, D) subnets whose mean training loss the weight step minimises; None leaves the weights alone."""
    architectures: NDArray[np.int64] | None
    """(N, D) subnets to evaluate; None in the warm-up."""
    checkpoint: bool = False
    """Whether the workers save a checkpoint after this round; told in the message, so that all ranks agree."""


@dataclass(frozen=True, kw_only=True)
class RoundResult:
    """What the workers found in one round, averaged over ranks.

    A worker makes it from what its device computed; the broker and the trial pass it on, Tune's result holds its fields
    under their names, and the record's tables take their columns from it.
    """

    round: int
    """Number of the round."""
    train_loss: float
    """Mean training loss before the step; NaN where the round had no weight step."""
    losses: tuple[float, ...]
    """Validation loss of each evaluated subnet, in the round's order; minimised, inf where it was not finite."""
    accuracies: tuple[float, ...]
    """Share of the validation batch classified right, in the same order."""
    compute_seconds: float
    """Time from the start of the round's work on rank 0 until its results were there."""
    reduced_bytes: int = 0
    """Gradients that every rank gave to the round's all-reduces: bytes of the parameters that the training subnets
    touch, however they travel; 0 with one worker or without a weight step."""
    saved_bytes: int = 0
    """Bytes of all other parameters, which an all-reduce of the whole supernet would have sent too."""
    checkpoint_follows: bool = False
    """Whether the workers save a checkpoint right after this round."""

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> RoundResult:
        """Read the result out of one that Tune passed on, which holds further keys.

        Raises:
            KeyError: a field is missing.
        """
        return cls(**{field.name: report[field.name] for field in fields(cls)})

    def to_report(self) -> dict[str, Any]:
        """The fields by their names, and as `loss` what Tune shows for the round."""
        loss = sum(self.losses) / len(self.losses) if self.losses else self.train_loss
        return {**vars(self), "loss": loss}


@dataclass(frozen=True, kw_only=True)
class Ending:
    """No round follows: the workers save what is asked for and return."""

    checkpoint: bool = True
    """A last checkpoint, to go on from. False after an error: the run's folder may belong to another driver by now."""
    supernet: bool = False
    """The trained supernet into the run's folder: the search has come to its end."""
