"""A search on a made-up task: the real optimiser and schedule, losses from a formula, no Ray."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from multinas_ray.core import MultiDistributionOptimizer
from multinas_ray.oneshot import Plan, RoundResult, Schedule
from multinas_ray.oneshot.warmup_draws import WarmupDraws

NUM_CATEGORIES = [3, 4, 2]
COEFFICIENTS = [0.0, 0.3]
SAMPLES = 8


def complexity_of(architectures):
    """(N,) normalised: the mean index, as a share of the largest."""
    return architectures.sum(1) / (np.array(NUM_CATEGORIES) - 1).sum()


def result_of(drawn):
    """A round's result, a function of the round alone."""
    noise = np.random.default_rng((17, drawn.number))
    rows = np.zeros((0, 3)) if drawn.architectures is None else drawn.architectures
    losses = 1.0 - 0.5 * complexity_of(rows) + noise.normal(0, 0.05, len(rows))
    return RoundResult(
        round=drawn.number,
        train_loss=float("nan") if drawn.train_architectures is None else 2.0 + noise.normal(),
        losses=tuple(losses.tolist()),
        accuracies=tuple(np.exp(-losses).tolist()),
        compute_seconds=0.02,
        reduced_bytes=1000 + drawn.number,
        saved_bytes=5000,
        checkpoint_follows=drawn.checkpoint,
    )


@dataclass
class MadeUpSearch:
    """A schedule and what it recorded."""

    plan: Plan
    memory: int = 0
    record: list[Any] = field(default_factory=list)
    observed: list[Any] = field(default_factory=list)
    drawn: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self):
        self.optimizer = MultiDistributionOptimizer(
            num_categories=NUM_CATEGORIES,
            coefficients=COEFFICIENTS,
            samples_per_update=SAMPLES,
            memory=self.memory,
            seed=5,
        )
        self.schedule = Schedule(
            plan=self.plan,
            warmup_draws=WarmupDraws(num_categories=NUM_CATEGORIES, seed=5, kind=self.plan.warmup_draws),
            optimizer=self.optimizer,
            complexity=complexity_of,
            record=self.keep,
            observe=self.observe,
        )

    def keep(self, finished):
        self.record.append((finished, self.optimizer.num_told, self.optimizer.num_updates))

    def observe(self, finished):
        self.observed.append((finished, self.optimizer.num_told, self.optimizer.num_updates))

    def draw(self):
        new = self.schedule.draw()
        self.drawn.update({each.number: each for each in new})
        return new

    def take(self, number, /, **changes):
        """Deliver a round's result, draw what that asks for; returns the rounds it completes."""
        before = len(self.observed)
        self.schedule.take(replace(result_of(self.drawn[number]), **changes), number // 4, "trial")
        self.draw()
        return [finished for finished, _, _ in self.observed[before:]]

    def run_in_order(self):
        self.draw()
        for number in range(self.plan.num_rounds):
            self.take(number)
        return self

    def architectures(self):
        """What was drawn and recorded, as plain lists."""
        return [
            [
                None if rows is None else rows.tolist()
                for rows in (finished.round.train_architectures, finished.round.architectures)
            ]
            for finished, _, _ in self.record
        ]


def plan_of(**changes):
    return Plan(**{"warmup_rounds": 3, "search_rounds": 12, "num_train_architectures": 2, **changes})


@pytest.fixture
def make_plan():
    return plan_of


@pytest.fixture
def make_search():
    def make(memory=0, **changes):
        return MadeUpSearch(plan_of(**changes), memory)

    return make


@pytest.fixture
def made_up_result():
    return result_of
