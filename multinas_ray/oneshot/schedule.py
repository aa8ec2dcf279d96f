"""The schedule of a one-shot search: which round comes next, and what its losses change. No Ray, no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from multinas_ray.core import Optimizer, Proposals
from multinas_ray.errors import ConfigError, RunError
from multinas_ray.oneshot.messages import Round, RoundResult
from multinas_ray.settings import NonNegativeInt, PositiveInt, checked

DIVERGED_ROUNDS = 5
"""Rounds in a row without a finite loss after which a search is given up."""


@checked
@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many rounds a search has and what they hold."""

    warmup_rounds: NonNegativeInt
    """Weight steps on uniformly drawn subnets before the distributions move; nothing is evaluated."""
    search_rounds: PositiveInt
    """Rounds with an evaluation, each of which moves the distributions once."""
    num_train_architectures: PositiveInt
    """Subnets whose mean loss one weight step minimises."""
    train_during_search: bool = True
    """False: weights first. The warm-up is then the whole training, and search rounds leave the weights alone."""
    rounds_ahead: PositiveInt = 4
    """Rounds that are out at any time: waiting at the broker or being worked on."""

    def __post_init__(self) -> None:
        if not self.train_during_search and self.warmup_rounds == 0:
            raise ConfigError(
                "train_during_search=False with warmup_rounds=0 would never train the supernet; "
                "set warmup_rounds to the number of weight steps, or train_during_search=True"
            )

    @property
    def num_rounds(self) -> int:
        """Rounds in all."""
        return self.warmup_rounds + self.search_rounds

    @property
    def num_weight_steps(self) -> int:
        """Weight steps in all; the learning rate's schedule spans them."""
        return self.num_rounds if self.train_during_search else self.warmup_rounds


@dataclass(frozen=True, kw_only=True)
class FinishedRound:
    """A round whose result has been taken, in the order of rounds."""

    round: Round
    result: RoundResult
    proposals: Proposals | None
    """The evaluated samples with the density they were drawn with; None in the warm-up."""
    complexities: NDArray[np.float64] | None
    """(N,) normalised complexities of the evaluated samples."""
    block: int
    """Number of the block that reported it."""
    trial_id: str
    """Tune's id of the trial that reported it."""


class DivergenceCheck:
    """Stops a search whose weights are lost: rounds in a row without a single finite loss."""

    def __init__(self) -> None:
        self._rounds_without = 0

    def check(self, finished: FinishedRound) -> None:
        """Look at one more round.

        Raises:
            RunError: it is one too many.
        """
        result = finished.result
        is_finite = np.isfinite([result.train_loss, *result.losses])
        self._rounds_without = 0 if is_finite.any() else self._rounds_without + 1
        if self._rounds_without >= DIVERGED_ROUNDS:
            raise RunError(
                f"the training diverged: no finite loss in the {DIVERGED_ROUNDS} rounds up to {result.round}; "
                "lower learning_rate or gradient_clip_norm and start the run under another name"
            )


class Schedule:
    """Draws rounds and takes their results.

    Rounds are taken strictly in their order, whatever order their results arrive in: round r + rounds_ahead is drawn
    right after round r moved the distributions. So a search's architectures depend on its seed and losses alone,
    never on timing [ours]. Waiting for the order costs nothing: one worker group does the rounds in order, and only
    Tune's events can overtake each other.

    Args:
        plan: rounds and what they hold.
        optimizer: the K distributions; this object is the only one to ask and tell it.
        complexity: maps (N, D) architectures to (N,) normalised complexities.
        record: called with each finished round before the optimiser is told; makes it durable.
        observe: called with each finished round after the optimiser was told.
        next_round: first round not in the record.
    """

    def __init__(
        self,
        *,
        plan: Plan,
        optimizer: Optimizer,
        complexity: Callable[[NDArray[np.int64]], NDArray[np.float64]],
        record: Callable[[FinishedRound], None],
        observe: Callable[[FinishedRound], None],
        next_round: int = 0,
    ) -> None:
        self.plan = plan
        self.optimizer = optimizer
        self._complexity = complexity
        self._record = record
        self._observe = observe
        self.next_round = next_round
        self._drawn: dict[int, tuple[Round, Proposals | None]] = {}
        self._new: list[Round] = []
        self._early: dict[int, tuple[RoundResult, int, str]] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every round of the plan is recorded."""
        return self.next_round >= self.plan.num_rounds

    @property
    def num_in_flight(self) -> int:
        """Rounds that are drawn and not yet recorded."""
        return len(self._drawn)

    def draw(self) -> list[Round]:
        """Rounds drawn since the last call, for the broker; `rounds_ahead` are out then."""
        self._draw_ahead()
        new, self._new = self._new, []
        return new

    def _draw_ahead(self) -> None:
        stop = min(self.next_round + self.plan.rounds_ahead, self.plan.num_rounds)
        for number in range(self.next_round + len(self._drawn), stop):
            self._draw_round(number)

    def _draw_round(self, number: int) -> None:
        in_warmup = number < self.plan.warmup_rounds
        trains = in_warmup or self.plan.train_during_search
        proposals = None if in_warmup else self.optimizer.ask()
        drawn = Round(
            number=number,
            train_architectures=self.optimizer.sample(self.plan.num_train_architectures) if trains else None,
            architectures=None if proposals is None else proposals.architectures,
            checkpoint=number + 1 == self.plan.warmup_rounds,
        )
        self._drawn[number] = drawn, proposals
        self._new.append(drawn)

    def take(self, result: RoundResult, block: int, trial_id: str) -> None:
        """Take one result, and finish the rounds it completes, in order: none if an earlier one is still missing.

        A round that is already recorded, or was never drawn, is ignored.
        """
        if result.round in self._drawn:
            self._early.setdefault(result.round, (result, block, trial_id))
        while self.next_round in self._early:
            self._finish(*self._early.pop(self.next_round))

    def _finish(self, result: RoundResult, block: int, trial_id: str) -> None:
        drawn, proposals = self._drawn[result.round]
        finished = FinishedRound(
            round=drawn,
            result=result,
            proposals=proposals,
            complexities=None if proposals is None else self._complexity(proposals.architectures),
            block=block,
            trial_id=trial_id,
        )
        self._record(finished)
        if proposals is not None and finished.complexities is not None:
            self.optimizer.tell(proposals, result.losses, finished.complexities)
        del self._drawn[result.round]
        self.next_round = result.round + 1
        self._draw_ahead()
        self._observe(finished)
