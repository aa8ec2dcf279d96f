"""The choice: which candidate becomes the network of a goal, and the reason in words.

Budgets are hard: a candidate above a limit is never chosen, whatever its loss. Below the limits their room is used.
Among the candidates that the validation images cannot tell from the best one, by one standard error of the difference
(the rule of Breiman et al., Classification and Regression Trees, 1984, which there takes the simplest), the one nearest
to the limits is chosen, because trained alone, networks gain more from capacity than shared weights show. [ours]
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multinas_ray.runs import format_count
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.outcome import Architecture
from multinas_ray.selection.pool import Candidate
from multinas_ray.selection.scores import Score, standard_error


@dataclass(frozen=True, eq=False, kw_only=True)
class Choice:
    """The decision for one candidate."""

    candidate: Candidate
    score: Score
    objective: float
    """Loss + coefficient * complexity, or the loss alone if the goal is a budget."""
    network: int = -1
    """Number of the network that the candidate was considered for."""
    is_chosen: bool = False
    reason: str = ""


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


def choose(
    candidates: Sequence[Candidate], goals: Sequence[Goal], scores: Mapping[Architecture, Score]
) -> ChosenFamily:
    """Choose a network for each goal.

    For a coefficient the candidate of least objective is chosen. For a budget it is the nearest to the limits among the
    candidates within them that cannot be told from the one of least loss. Every evaluated candidate competes for every
    goal, since its evaluation has been paid for [ours]. Of candidates with equal objectives the least complex wins if
    there are no limits; then the goal's own candidates come before others, then the first. A candidate whose loss is
    not finite is never chosen.

    Args:
        candidates: see `SearchOutcome.candidates_for`.
        goals: what the networks are wanted for.
        scores: of every candidate's architecture, on all validation images.
    """
    groups, winners = [], []
    for place, goal in enumerate(goals):
        own = [_scored(each, goal, scores) for each in candidates if each.goal == place]
        guests = [_scored(_as_guest(each, place, goal), goal, scores) for each in candidates if each.goal != place]
        able = [each for each in own + guests if each.candidate.within_budget and math.isfinite(each.objective)]
        best = min(able, key=lambda each: (each.objective, each.candidate.complexity), default=None)
        winner = best if best is None or not goal.limits else _nearest_of_the_good(able, best, goal)
        if winner is not None and all(winner is not each for each in own):
            own.append(winner)
        groups.append([_explained(each, winner, best, goal) for each in own])
        winners.append(winner)
    return _from_small_to_large(groups, winners, goals)


def _as_guest(candidate: Candidate, place: int, goal: Goal) -> Candidate:
    """A candidate of another goal, considered for this one."""
    return dataclasses.replace(candidate, goal=place, within_budget=goal.is_kept_by(candidate.costs))


def _scored(candidate: Candidate, goal: Goal, scores: Mapping[Architecture, Score]) -> Choice:
    score = scores[candidate.architecture]
    objective = score.loss + (goal.coefficient or 0.0) * candidate.complexity
    return Choice(candidate=candidate, score=score, objective=objective)


def _nearest_of_the_good(able: Sequence[Choice], best: Choice, goal: Goal) -> Choice:
    """The nearest to the limits of those that cannot be told from the best, and of those better than one of them."""
    bound = max(each.objective for each in able if each.objective - best.objective <= _error(each, best))
    good = [each for each in able if each.objective <= bound]
    return max(good, key=lambda each: (goal.excess(each.candidate.costs), -each.objective))


def _error(one: Choice, other: Choice) -> float:
    """Standard error of the difference of their losses."""
    return standard_error(one.score.part_losses, other.score.part_losses)


def _explained(choice: Choice, winner: Choice | None, best: Choice | None, goal: Goal) -> Choice:
    if not choice.candidate.within_budget:
        reason = f"it exceeds the budget: {_excesses(choice.candidate, goal)}"
    elif winner is None or best is None or not math.isfinite(choice.objective):
        reason = "its loss is not finite"
    elif choice is winner:
        reason = _reason_of_winner(winner, best, goal)
    else:
        reason = _reason_of_loser(choice, winner, goal)
    return dataclasses.replace(choice, is_chosen=choice is winner, reason=reason)


def _reason_of_winner(winner: Choice, best: Choice, goal: Goal) -> str:
    difference = winner.objective - best.objective
    if difference == 0:
        return f"chosen: it has the least {goal.objective_text}"
    return (
        "chosen: it is the nearest to the limit among those that the validation images cannot tell from the one of "
        f"least {goal.objective_text} (its loss is {difference:.4f} higher, with a standard error of "
        f"{_error(winner, best):.4f})"
    )


def _reason_of_loser(choice: Choice, winner: Choice, goal: Goal) -> str:
    what = "objective" if goal.coefficient else "loss"
    difference = choice.objective - winner.objective
    if difference > 0:
        return f"its {what} is {difference:.4f} higher than that of the chosen one"
    if difference < 0:
        return (
            f"its loss is {-difference:.4f} lower than that of the chosen one, which is too little to tell them apart, "
            "and it is further below the limit"
        )
    if goal.limits and goal.excess(choice.candidate.costs) < goal.excess(winner.candidate.costs):
        return f"its {what} equals that of the chosen one, which is nearer to the limit"
    if choice.candidate.complexity > winner.candidate.complexity:
        return f"its {what} equals that of the chosen one, which is smaller"
    return f"its {what} and size equal those of the chosen one, which came first"


def _from_small_to_large(
    groups: list[list[Choice]], winners: list[Choice | None], goals: Sequence[Goal]
) -> ChosenFamily:
    """Number the goals by the size of their networks.

    Of equal sizes the larger coefficient comes first; goals without a network come last.
    """

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
    wanted = f"no candidate is within {goal.limits_text}" if goal.limits else "no candidate has a finite loss"
    finite = [each for each in group if math.isfinite(each.score.loss)]
    if not finite or not goal.limits:
        return wanted
    nearest = min(finite, key=lambda each: (goal.excess(each.candidate.costs), each.score.loss))
    figures = ", ".join(f"{name} {format_count(nearest.candidate.costs[name])}" for name in goal.limits)
    return f"{wanted}; the nearest has {figures}, loss {nearest.score.loss:.4f}, accuracy {nearest.score.accuracy:.2%}"


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
