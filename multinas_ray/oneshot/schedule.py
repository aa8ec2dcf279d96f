"""The schedule of a one-shot search: which round comes next and what its losses change. No Ray, no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from multinas_ray.core import Optimizer, Proposals
from multinas_ray.errors import ConfigError, RunError
from multinas_ray.oneshot.messages import Round, RoundResult
from multinas_ray.oneshot.warmup_draws import WarmupDraws, WarmupKind
from multinas_ray.settings import NonNegativeInt, PositiveInt, checked, checked_arguments

if TYPE_CHECKING:
    from multinas_ray.oneshot.config import OneShotSearchConfig

DIVERGED_ROUNDS = 5
"""Number of consecutive rounds without a finite loss after which a search stops with an error."""


@checked
@dataclass(frozen=True, kw_only=True)
class Plan:
    """The number of rounds of a search and their content."""

    warmup_rounds: NonNegativeInt
    """Number of weight steps on subnets drawn over the whole space, before the distributions move. Nothing is evaluated
    in them."""
    search_rounds: PositiveInt
    """Number of rounds with an evaluation, each of which moves the distributions once."""
    num_train_architectures: PositiveInt
    """Number of subnets whose mean loss one weight step minimises."""
    train_during_search: bool = True
    """Whether search rounds have a weight step. False: weights first; the warm-up is then the whole training."""
    warmup_draws: WarmupKind = "fair"
    """How the subnets of the warm-up are drawn, see `WarmupDraws`."""
    rounds_ahead: PositiveInt = 4
    """Number of rounds that are drawn ahead, which wait at the broker or are being computed."""

    def __post_init__(self) -> None:
        if not self.train_during_search and self.warmup_rounds == 0:
            raise ConfigError(
                "the supernet must be trained, train_during_search=False with warmup_rounds=0 never does it: set "
                "warmup_rounds to the number of weight steps, or train_during_search=True"
            )

    @property
    def num_rounds(self) -> int:
        """Number of all rounds."""
        return self.warmup_rounds + self.search_rounds

    @property
    def first_saved_round(self) -> int:
        """The round before which the weights are saved in any case, so that each evaluation has weights to go on with.

        It is the first round after the warm-up, or the second if there is no warm-up.
        """
        return max(1, self.warmup_rounds)

    @property
    def num_weight_steps(self) -> int:
        """Number of all weight steps, which the schedule of the learning rate spans."""
        return self.num_rounds if self.train_during_search else self.warmup_rounds


@dataclass(frozen=True, kw_only=True)
class FinishedRound:
    """A round whose result has been taken in, in the order of the rounds."""

    round: Round
    result: RoundResult
    proposals: Proposals | None
    """The evaluated samples with the density of their draw; None in the warm-up."""
    complexities: NDArray[np.float64] | None
    """(N,) complexities of the evaluated samples; None in the warm-up."""
    block: int
    """Number of the block that reported it."""
    trial_id: str
    """Tune's id of the trial that reported it."""


class DivergenceCheck:
    """Stops a search whose weights have diverged, after consecutive rounds without a single finite loss."""

    def __init__(self) -> None:
        self._rounds_without = 0

    def check(self, finished: FinishedRound) -> None:
        """Check one more round.

        Raises:
            RunError: the weights have diverged.
        """
        result = finished.result
        is_finite = np.isfinite([result.train_loss, *result.losses])
        self._rounds_without = 0 if is_finite.any() else self._rounds_without + 1
        if self._rounds_without >= DIVERGED_ROUNDS:
            raise RunError(
                f"losses must stay finite, the {DIVERGED_ROUNDS} rounds up to {result.round} have no finite loss, so "
                "the training has diverged: lower learning_rate or gradient_clip_norm and start the run under another "
                "name"
            )


class Schedule:
    """Draws rounds and takes in their results.

    Results are taken in strictly in the order of the rounds, whatever the order of their arrival: round
    r + rounds_ahead is drawn right after round r has moved the distributions. So the architectures of a search depend
    on its seed and its losses only, never on timing [ours]. This costs no time: one worker group computes the rounds in
    order, and only the events of Tune can overtake each other.

    Args:
        plan: the number of rounds and their content.
        warmup_draws: the subnets that the warm-up trains.
        optimizer: the K distributions; only this object asks and tells it.
        complexity: maps (N, D) architectures to (N,) normalised complexities.
        record: called with each finished round before the optimiser is told, to make the round durable.
        observe: called with each finished round after the optimiser was told.
        next_round: the first round that is not in the record.
    """

    @checked_arguments
    def __init__(
        self,
        *,
        plan: Plan,
        warmup_draws: WarmupDraws,
        optimizer: Optimizer,
        complexity: Callable[[NDArray[np.int64]], NDArray[np.float64]],
        record: Callable[[FinishedRound], None],
        observe: Callable[[FinishedRound], None],
        next_round: int = 0,
    ) -> None:
        self.plan = plan
        self.optimizer = optimizer
        self._warmup_draws = warmup_draws
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
        """Number of rounds that are drawn and not yet recorded."""
        return len(self._drawn)

    def draw(self) -> list[Round]:
        """Return the rounds drawn since the last call, for the broker, so that `rounds_ahead` are drawn ahead."""
        self._draw_ahead()
        new, self._new = self._new, []
        return new

    def _draw_ahead(self) -> None:
        stop = min(self.next_round + self.plan.rounds_ahead, self.plan.num_rounds)
        for number in range(self.next_round + len(self._drawn), stop):
            self._draw_round(number)

    def _draw_round(self, number: int) -> None:
        in_warmup = number < self.plan.warmup_rounds
        proposals = None if in_warmup else self.optimizer.ask()
        drawn = Round(
            number=number,
            train_architectures=self._trained_in(number),
            architectures=None if proposals is None else proposals.architectures,
            checkpoint=number + 1 == self.plan.first_saved_round,
        )
        self._drawn[number] = drawn, proposals
        self._new.append(drawn)

    def _trained_in(self, number: int) -> NDArray[np.int64] | None:
        """Return the (T, D) subnets of a round's weight step, None if it has none.

        Those of the warm-up come from the whole space and not from the distributions, which may start near their
        targets, so that all blocks are trained [ours].
        """
        if number < self.plan.warmup_rounds:
            return self._warmup_draws.draw(number, self.plan.num_train_architectures)
        return self.optimizer.sample(self.plan.num_train_architectures) if self.plan.train_during_search else None

    def take(self, result: RoundResult, block: int, trial_id: str) -> None:
        """Take in one result, and finish all rounds whose earlier rounds are finished, in order.

        A result is ignored if its round is already recorded or was never drawn.
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


def schedule_of(
    config: OneShotSearchConfig,
    optimizer: Optimizer,
    record: Callable[[FinishedRound], None],
    observe: Callable[[FinishedRound], None],
    next_round: int = 0,
) -> Schedule:
    """Make the schedule of a search; see `Schedule` for the arguments."""
    cost, scale = config.cost, config.complexity_scale
    return Schedule(
        plan=config.plan,
        warmup_draws=WarmupDraws(
            num_categories=config.space.search_space.num_categories, seed=config.seed, kind=config.warmup_draws
        ),
        optimizer=optimizer,
        complexity=lambda architectures: cost(architectures) / scale,
        record=record,
        observe=observe,
        next_round=next_round,
    )
