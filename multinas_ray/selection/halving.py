"""Successive halving: many candidates on few images, the better ones on more, the best on all.

Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, AISTATS 2016. It knows
neither Ray nor torch: a function that it is given evaluates networks.

Notation: N candidates of one goal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from multinas_ray.selection.choice import Choice, choice_of
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.outcome import Architecture
from multinas_ray.selection.pool import Candidate
from multinas_ray.selection.ranking import Ranking
from multinas_ray.selection.scores import Score
from multinas_ray.settings import checked, checked_arguments

ETA = 3
"""Of the candidates of a rung, about one in so many goes on."""
FINALISTS = 10
"""So many candidates of a goal, or a few more, are evaluated on all images. [ours]"""
GROWTH = 8
"""The images of a rung, as a multiple of those of the rung before. [ours]"""
RECALIBRATION_IMAGES = 20_000
"""Default number of training images, at most, for batch-normalisation statistics, whose error falls with its root."""
FEW_BATCHES = 4
"""Training batches that give the normalisation statistics of the rungs between the first and the last. [ours]"""


@checked
@dataclass(frozen=True, kw_only=True)
class Rung:
    """One step of successive halving."""

    number: int
    """From 1."""
    size: int
    """Most candidates of a goal that reach it."""
    images: int
    """Validation images on which networks are evaluated, the same for all."""
    recalibration_images: int
    """Training images that give the normalisation statistics; 0: they are those of the validation batch itself."""

    @property
    def images_text(self) -> str:
        """The images in words."""
        return f"{self.images:,} validation images"


@checked_arguments
def plan_rungs(
    candidates: int, *, images: int, batch_images: int, recalibration_images: int, few_recalibration_images: int
) -> list[Rung]:
    """Plan the rungs for a number of candidates.

    From each rung a third goes on, until about FINALISTS are left, and never fewer; so many have a single rung. The
    first rung sees one batch, normalised by itself, and each later one GROWTH times the images of the one before, with
    statistics of a few training batches. The last sees all images with all statistics. A rung between that would see
    less than twice the images of the one before is left out.

    Args:
        candidates: of the goal that has most.
        images: all validation images.
        batch_images: images of one validation batch; 0: they are too few for statistics of their own.
        recalibration_images: training images of the last rung's statistics.
        few_recalibration_images: training images of the statistics between.
    """
    cuts = max(1, round(math.log(candidates / FINALISTS, ETA))) if candidates > FINALISTS else 0
    few = min(few_recalibration_images, recalibration_images)
    steps = [(batch_images, 0)] if batch_images else [(images, few)]
    steps += [(min(images, (batch_images or images) * GROWTH**cut), few) for cut in range(1, cuts)]
    rungs: list[Rung] = []
    for cut, (seen, recalibration) in enumerate([*steps[:cuts], (images, recalibration_images)]):
        is_last = cut == cuts or (seen, recalibration) == (images, recalibration_images)
        if rungs and not is_last and seen < 2 * rungs[-1].images:
            continue
        size = max(min(candidates, FINALISTS), round(candidates / ETA**cut))
        rungs.append(Rung(number=len(rungs) + 1, size=size, images=seen, recalibration_images=recalibration))
        if is_last:
            break
    return rungs


def choice_passes(
    candidates: int, goals: int, *, num_train: int, num_validation: int, batch_images: int, train_batch_images: int
) -> int:
    """Images that a choice among so many candidates of each goal passes through networks, each for itself.

    Args:
        candidates: of one goal.
        goals: number of goals.
        num_train: number of training images.
        num_validation: number of validation images.
        batch_images: images of one validation batch.
        train_batch_images: images of one training batch.
    """
    rungs = plan_rungs(
        candidates,
        images=num_validation,
        batch_images=min(batch_images, num_validation),
        recalibration_images=min(num_train, RECALIBRATION_IMAGES),
        few_recalibration_images=FEW_BATCHES * train_batch_images,
    )
    return goals * sum(each.size * (each.images + each.recalibration_images) for each in rungs)


Evaluate = Callable[[Rung, Sequence[Architecture]], Iterable[Score]]
"""Gives the score of each network in a rung, in their order."""


@dataclass(eq=False)
class SuccessiveHalving:
    """Finds the finalists of every goal.

    Networks that several goals consider are evaluated once in a rung. Within the pool of each goal, those of least
    combined rank go on; one whose loss is not finite falls out. With exact scores and no prior the best of a pool is
    never lost.

    Args:
        candidates: the pools of all goals.
        goals: what they are considered for.
        rungs: see `plan_rungs`.
        ranking: how candidates are ranked.
    """

    candidates: Sequence[Candidate]
    goals: Sequence[Goal]
    rungs: Sequence[Rung]
    ranking: Ranking
    left_out: list[Choice] = field(default_factory=list)
    """The candidates that did not reach the last rung, with their last scores and the reasons."""
    finalists: list[Candidate] = field(default_factory=list)
    """The candidates that did, in their order."""
    scores: dict[Architecture, Score] = field(default_factory=dict)
    """The finalists' scores in the last rung."""

    def run(self, evaluate: Evaluate) -> None:
        """Evaluate the candidates rung after rung."""
        self.finalists = list(self.candidates)
        for place, rung in enumerate(self.rungs):
            networks = sorted({each.architecture for each in self.finalists})
            self.scores = dict(zip(networks, evaluate(rung, networks), strict=True))
            if place + 1 < len(self.rungs):
                pools = [[each for each in self.finalists if each.goal == goal] for goal in range(len(self.goals))]
                kept = [self._best(pool, rung, self.rungs[place + 1].size) for pool in pools]
                self.finalists = [each for pool in kept for each in pool]

    def _best(self, pool: list[Candidate], rung: Rung, number: int) -> list[Candidate]:
        """The candidates of a goal that go on; the others are noted."""
        finite = [each for each in pool if math.isfinite(self.scores[each.architecture].loss)]
        for each in pool:
            if not math.isfinite(self.scores[each.architecture].loss):
                self._leave_out(each, rung, None, f"its loss is not finite on {rung.images_text}")
        if len(finite) <= number:
            return finite
        goal = self.goals[pool[0].goal]
        losses = [self.scores[each.architecture].loss for each in finite]
        combined = self.ranking.ranks(goal, finite, losses, few_images=True).combined_N
        order = combined.argsort(kind="stable").tolist()
        for n in order[number:]:
            reason = (
                f"left out after rung {rung.number} of {len(self.rungs)}: its combined rank on {rung.images_text} is "
                f"{combined[n]:.3f}, and the best {number} of {len(finite)} went on"
            )
            self._leave_out(finite[n], rung, float(combined[n]), reason)
        return [finite[n] for n in sorted(order[:number])]

    def _leave_out(self, candidate: Candidate, rung: Rung, combined: float | None, reason: str) -> None:
        choice = choice_of(candidate, self.goals[candidate.goal], self.scores[candidate.architecture], rung.number)
        self.left_out.append(choice.left_out(combined, reason))
