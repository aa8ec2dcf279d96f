"""What driver, broker, trials and workers say to each other. Plain data: numpy arrays, numbers, strings."""

from __future__ import annotations

from dataclasses import dataclass

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
class Traffic:
    """Gradients that every rank gave to a round's all-reduces: bytes of their values, however these travel."""

    reduced_bytes: int = 0
    """Of the parameters that the training subnets touch; 0 with one worker or without a weight step."""
    saved_bytes: int = 0
    """Of all others, which an all-reduce of the whole supernet would have sent too."""


@dataclass(frozen=True, kw_only=True)
class RoundResult:
    """What the workers found in one round, averaged over ranks."""

    number: int
    train_loss: float
    """Mean training loss before the step; NaN where the round had no weight step."""
    losses: tuple[float, ...]
    """Validation loss of each evaluated subnet, in the round's order; minimised."""
    accuracies: tuple[float, ...]
    """Share of the validation batch classified right, in the same order."""
    compute_seconds: float
    """Time from the start of the round's work on rank 0 until its results were there."""
    traffic: Traffic = Traffic()
    """What the weight step sent between the workers."""
    checkpoint: bool = False
    """Whether the workers save a checkpoint right after this round."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """No round follows: the workers save what is asked for and return."""

    checkpoint: bool = True
    """A last checkpoint, to go on from. False after an error: the run's folder may belong to another driver by now."""
    supernet: bool = False
    """The trained supernet into the run's folder: the search has come to its end."""
