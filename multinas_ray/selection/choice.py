"""The choice: which candidate becomes the network of a goal, and the reason in words.

Budgets are hard: a candidate above a limit is never chosen, whatever its loss. Among those within, the one of least
combined rank is chosen: by its loss on all validation images and by the parts of the prior. The losses of a barely
trained supernet hardly tell networks of one size apart, and the prior tells what trained networks gain from. [ours]

Notation: N candidates of a goal.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multinas_ray.runs import format_count
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.outcome import Architecture
from multinas_ray.selection.pool import Candidate
from multinas_ray.selection.ranking import Ranking, Ranks
from multinas_ray.selection.scores import Score, standard_error
from multinas_ray.settings import checked_arguments


@dataclass(frozen=True, eq=False, kw_only=True)
class Choice:
    """The decision for one candidate."""

    candidate: Candidate
    score: Score
    objective: float
    """Loss + coefficient * complexity, or the loss alone if the goal is a budget."""
    combined_rank: float | None = None
    """Its combined rank, in (0, 1], among those of its goal that reached the rung; None if it may not be chosen."""
    rung: int = 1
    """The last rung that it reached, from 1."""
    network: int = -1
    """Number of the network that the candidate was considered for."""
    is_chosen: bool = False
    reason: str = ""

    def left_out(self, combined_rank: float | None, reason: str) -> "Choice":
        """The same, not chosen."""
        return dataclasses.replace(self, combined_rank=combined_rank, reason=reason)


@dataclass(frozen=True, eq=False)
class ChosenFamily:
    """The choices that make a family."""

    choices: list[Choice]
    """All choices, by the number of the network; those of goals without a network come last."""
    networks: list[Choice]
    """The choices of the chosen candidates, from the smallest network to the largest."""
    goals: list[Goal]
    """The goal of each network; goals without a network come last."""
    unmet: list[str]
    """For each goal without a network: what was wanted, and the nearest candidate with its figures."""


@checked_arguments
def choose(
    candidates: Sequence[Candidate],
    goals: Sequence[Goal],
    scores: Mapping[Architecture, Score],
    ranking: Ranking | None = None,
    *,
    rung: int = 1,
    left_out: Sequence[Choice] = (),
) -> ChosenFamily:
    """Choose a network for each goal, among its own candidates.

    The candidate of least combined rank is chosen, see `Ranking`; without a prior that is the one of least loss (or
    loss + coefficient * complexity). Of equal ranks the least loss wins, then the smaller network, then the first. A
    candidate that exceeds a limit, or whose loss is not finite, is never chosen and does not count in the ranks.

    Args:
        candidates: see `candidates_for`; those of them that reached the last rung, see `SuccessiveHalving`.
        goals: what the networks are wanted for.
        scores: of every candidate's architecture, on all validation images.
        ranking: how loss and prior are combined; None: by loss alone.
        rung: number of the last rung.
        left_out: the candidates that did not reach it.
    """
    groups = []
    for place, goal in enumerate(goals):
        own = [choice_of(each, goal, scores[each.architecture], rung) for each in candidates if each.goal == place]
        others = [each for each in left_out if each.candidate.goal == place]
        groups.append([*_decided(own, goal, ranking or Ranking()), *others])
    return _from_small_to_large(groups, goals)


def choice_of(candidate: Candidate, goal: Goal, score: Score, rung: int) -> Choice:
    """A candidate with its score in a rung, before the decision."""
    objective = score.loss + (goal.coefficient or 0.0) * candidate.complexity
    return Choice(candidate=candidate, score=score, objective=objective, rung=rung)


def _decided(group: Sequence[Choice], goal: Goal, ranking: Ranking) -> list[Choice]:
    """The choices of a goal with ranks and reasons; one is chosen if any may be."""
    able = [n for n, each in enumerate(group) if each.candidate.within_budget and math.isfinite(each.objective)]
    if not able:
        return [dataclasses.replace(each, reason=_reason_of_unable(each, goal)) for each in group]
    ranks = ranking.ranks(goal, [group[n].candidate for n in able], [group[n].score.loss for n in able])
    ranked = [
        dataclasses.replace(group[n], combined_rank=float(ranks.combined_N[place])) for place, n in enumerate(able)
    ]
    order = range(len(able))
    winner = min(
        order, key=lambda n: (ranks.combined_N[n].round(12), ranked[n].objective, ranked[n].candidate.complexity)
    )
    reasons = _Reasons(goal, ranked, ranks, winner, list(ranking.prior))
    decided = list(group)
    for place, n in enumerate(able):
        decided[n] = dataclasses.replace(ranked[place], is_chosen=place == winner, reason=reasons.reason(place))
    return [
        each if each.reason else dataclasses.replace(each, reason=_reason_of_unable(each, goal)) for each in decided
    ]


def _reason_of_unable(choice: Choice, goal: Goal) -> str:
    if not choice.candidate.within_budget:
        return f"it exceeds the budget: {_excesses(choice.candidate, goal)}"
    return "its loss is not finite"


@dataclass(frozen=True, eq=False)
class _Reasons:
    """The reasons of a goal's candidates, in words."""

    goal: Goal
    ranked: list[Choice]
    ranks: Ranks
    winner: int
    parts: list[str]
    """Names of the parts of the prior."""

    def reason(self, place: int) -> str:
        """Why a candidate was chosen or not."""
        if place == self.winner:
            return self._reason_of_winner()
        combined, best = (float(self.ranks.combined_N[n]) for n in (place, self.winner))
        if round(combined, 12) == round(best, 12):
            return f"{self._loss_text(place)}; their combined ranks are equal" if self.parts else self._tie_text(place)
        if not self.parts:
            return self._loss_text(place)
        return f"its combined rank is {combined:.3f}: {self._loss_text(place)}, and it is {self._prior_text(place)}"

    def _reason_of_winner(self) -> str:
        if not self.parts:
            return f"chosen: it has the least {self.goal.objective_text}"
        within = f" within {self.goal.limits_text}" if self.goal.limits else ""
        return (
            f"chosen: it has the least combined rank{within}, {self.ranks.combined_N[self.winner]:.3f}: of "
            f"{len(self.ranked)} it is number {self._number(self.ranks.loss_N[self.winner])} by its {self._measure}, "
            f"and {self._prior_text(self.winner)}"
        )

    @property
    def _measure(self) -> str:
        return "objective" if self.goal.coefficient else "loss"

    def _number(self, rank: float) -> str:
        """A scaled rank as a place from 1; halves where some tie."""
        return f"{rank * len(self.ranked):.10g}"

    def _prior_text(self, place: int) -> str:
        pairs = zip(self.parts, self.ranks.prior_PN[:, place], strict=True)
        return f"number {', '.join(f'{self._number(rank)} by {name}' for name, rank in pairs)}"

    def _loss_text(self, place: int) -> str:
        one, other = self.ranked[place], self.ranked[self.winner]
        difference = one.objective - other.objective
        if difference == 0:
            return f"its {self._measure} equals that of the chosen one"
        error = standard_error(one.score.part_losses, other.score.part_losses)
        sure = f" (standard error {error:.4f})" if error else ""
        word = "higher" if difference > 0 else "lower"
        return f"its {self._measure} is {abs(difference):.4f} {word} than that of the chosen one{sure}"

    def _tie_text(self, place: int) -> str:
        """Equal objectives without a prior."""
        one, other = self.ranked[place].candidate, self.ranked[self.winner].candidate
        if one.complexity > other.complexity:
            return f"its {self._measure} equals that of the chosen one, which is smaller"
        return f"its {self._measure} and size equal those of the chosen one, which came first"


def _from_small_to_large(groups: list[list[Choice]], goals: Sequence[Goal]) -> ChosenFamily:
    """Number the goals by the size of their networks.

    Of equal sizes the larger coefficient comes first; goals without a network come last.
    """
    winners = [next((each for each in group if each.is_chosen), None) for group in groups]

    def key(place: int) -> tuple[bool, float, float]:
        winner = winners[place]
        return winner is None, winner.candidate.complexity if winner else 0.0, -(goals[place].coefficient or 0.0)

    order = sorted(range(len(goals)), key=key)
    choices = [
        dataclasses.replace(each, network=network) for network, place in enumerate(order) for each in groups[place]
    ]
    return ChosenFamily(
        choices=choices,
        networks=[each for each in choices if each.is_chosen],
        goals=[goals[place] for place in order],
        unmet=[_unmet(groups[place], goals[place]) for place in order if winners[place] is None],
    )


def _unmet(group: list[Choice], goal: Goal) -> str:
    if not goal.limits or any(each.candidate.within_budget for each in group):
        return f"no candidate{f' within {goal.limits_text}' if goal.limits else ''} has a finite loss"
    wanted = f"no candidate is within {goal.limits_text}"
    finite = [each for each in group if math.isfinite(each.score.loss)]
    if not finite:
        return wanted
    nearest = min(finite, key=lambda each: (goal.excess(each.candidate.costs), each.score.loss))
    figures = ", ".join(f"{name} {format_count(nearest.candidate.costs[name])}" for name in goal.limits)
    return f"{wanted}; the nearest has {figures}, loss {nearest.score.loss:.4f}"


def _excesses(candidate: Candidate, goal: Goal) -> str:
    """Each cost above its limit, with as many digits as show the difference."""
    texts = []
    for name, limit in goal.limits.items():
        cost = candidate.costs[name]
        if cost > limit:
            short = format_count(cost), format_count(limit)
            shown = short if short[0] != short[1] else (f"{cost:.15g}", f"{limit:.15g}")
            texts.append(f"{name} {shown[0]} > {shown[1]}")
    return ", ".join(texts)
