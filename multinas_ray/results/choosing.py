"""Which candidate becomes the network, and why, in words.

Budgets are hard: a candidate above a limit is never chosen, whatever its loss.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multinas_ray.results.candidates import Architecture, Candidate, Goal
from multinas_ray.results.numbers import format_count


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen among the candidates."""

    candidates: list[Candidate]
    """All, by the rank of the network they stood for; those of goals that nobody met come last."""
    networks: list[Candidate]
    """The chosen, from small to large; `network` is their rank."""
    goals: list[Goal]
    """What each was chosen for; those that nobody met come last."""
    unmet: list[str]
    """For each goal that nobody met: what was wanted, and the nearest candidate with its figures."""


def choose(
    candidates: Sequence[Candidate],
    goals: Sequence[Goal],
    results: Mapping[Architecture, tuple[float, float]],
) -> Choice:
    """Choose a network for each goal: the least objective within all its limits.

    Every candidate that was evaluated competes for every goal: they have been paid for [ours]. Of equal objectives
    the least complex wins, then a goal's own, then the first. A loss that is not finite is never chosen.

    Args:
        candidates: see `Sources.propose`; their `network` is a position in `goals`.
        goals: what is wanted.
        results: loss and accuracy on all validation images of every candidate's architecture.
    """
    measured = [_measured(each, goals[each.network], results) for each in candidates]
    groups, winners = [], []
    for number, goal in enumerate(goals):
        own = [each for each in measured if each.network == number]
        guests = [_as_guest(each, number, goal, results) for each in measured if each.network != number]
        able = [each for each in own + guests if each.within_budget and math.isfinite(each.objective)]
        winner = min(able, key=lambda each: (each.objective, each.complexity), default=None)
        if winner is not None and all(winner is not each for each in own):
            own.append(winner)
        groups.append([_explained(each, winner, goal) for each in own])
        winners.append(winner)
    return _ranked(groups, winners, goals)


def _measured(candidate: Candidate, goal: Goal, results: Mapping[Architecture, tuple[float, float]]) -> Candidate:
    loss, accuracy = results[candidate.architecture]
    objective = loss + (goal.coefficient or 0.0) * candidate.complexity
    return dataclasses.replace(candidate, loss=loss, accuracy=accuracy, objective=objective)


def _as_guest(
    candidate: Candidate, number: int, goal: Goal, results: Mapping[Architecture, tuple[float, float]]
) -> Candidate:
    """A candidate of another goal, considered for this one."""
    keeps = all(candidate.costs[name] <= limit for name, limit in goal.limits.items())
    return _measured(dataclasses.replace(candidate, network=number, within_budget=keeps), goal, results)


def _explained(candidate: Candidate, winner: Candidate | None, goal: Goal) -> Candidate:
    is_chosen = candidate is winner
    return dataclasses.replace(candidate, chosen=is_chosen, reason=_reason(candidate, winner, goal))


def _reason(candidate: Candidate, winner: Candidate | None, goal: Goal) -> str:
    if not candidate.within_budget:
        return f"over budget: {_excesses(candidate, goal)}"
    if winner is None or not math.isfinite(candidate.objective):
        return "its loss is not finite"
    if candidate is winner:
        return f"chosen: least {objective_text(goal)}"
    what = "objective" if goal.coefficient else "loss"
    difference = candidate.objective - winner.objective
    if difference > 0:
        return f"{what} {difference:.4f} above the chosen one's"
    if candidate.complexity > winner.complexity:
        return f"{what} equal to the chosen one's, which is smaller"
    return f"{what} and size equal to the chosen one's, which came first"


def objective_text(goal: Goal) -> str:
    """What is minimised for a goal, in words."""
    if goal.coefficient:
        return f"loss + {goal.coefficient:g} * complexity"
    return "validation loss" + (f" within {_limits(goal)}" if goal.limits else "")


def _ranked(groups: list[list[Candidate]], winners: list[Candidate | None], goals: Sequence[Goal]) -> Choice:
    """Number goals by their networks' size; at equal sizes the larger coefficient first, goals nobody met last."""

    def place(number: int) -> tuple[bool, float, float]:
        winner = winners[number]
        return winner is None, winner.complexity if winner else 0.0, -(goals[number].coefficient or 0.0)

    order = sorted(range(len(goals)), key=place)
    ranked = [dataclasses.replace(each, network=rank) for rank, number in enumerate(order) for each in groups[number]]
    return Choice(
        candidates=ranked,
        networks=[each for each in ranked if each.chosen],
        goals=[goals[number] for number in order],
        unmet=[_unmet(groups[number], goals[number]) for number in order if winners[number] is None],
    )


def _unmet(group: list[Candidate], goal: Goal) -> str:
    wanted = f"no candidate is within {_limits(goal)}" if goal.limits else "no candidate has a finite loss"
    finite = [each for each in group if math.isfinite(each.loss)]
    if not finite or not goal.limits:
        return wanted
    nearest = min(finite, key=lambda each: (_excess(each, goal), each.loss))
    figures = ", ".join(f"{name} {format_count(nearest.costs[name])}" for name in goal.limits)
    return f"{wanted}; the nearest has {figures}, loss {nearest.loss:.4f}, accuracy {nearest.accuracy:.2%}"


def _excess(candidate: Candidate, goal: Goal) -> float:
    """How far the worst of the costs is above its limit, as a share of the limit."""
    return max((candidate.costs[name] - limit) / (abs(limit) or 1.0) for name, limit in goal.limits.items())


def _limits(goal: Goal) -> str:
    return ", ".join(f"{name} <= {format_count(limit)}" for name, limit in goal.limits.items())


def _excesses(candidate: Candidate, goal: Goal) -> str:
    """Each cost above its limit, with as many digits as tell the two apart."""
    texts = []
    for name, limit in goal.limits.items():
        cost = candidate.costs[name]
        if cost > limit:
            short = format_count(cost), format_count(limit)
            shown = short if short[0] != short[1] else (f"{cost:.15g}", f"{limit:.15g}")
            texts.append(f"{name} {shown[0]} > {shown[1]}")
    return ", ".join(texts)
