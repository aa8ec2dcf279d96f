"""Which candidate becomes the network, and why, in words.

Budgets are hard: a candidate above a limit is never chosen, whatever its loss. Below, the room is used: of those that
the validation images cannot tell from the best, by one standard error of the difference (the rule of Breiman et al.,
Classification and Regression Trees, 1984, there for the simplest), the one nearest to the limits is taken. Trained
alone, capacity gains more than shared weights show. [ours]
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multinas_ray.runs import format_count
from multinas_ray.selection.pool import Architecture, Candidate, Goal
from multinas_ray.selection.scores import Score, standard_error


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen among the candidates."""

    candidates: list[Candidate]
    """All, by the number of the network they stood for; those of goals that nobody met come last."""
    networks: list[Candidate]
    """The chosen, from small to large; `network` is their number."""
    goals: list[Goal]
    """What each was chosen for; those that nobody met come last."""
    unmet: list[str]
    """For each goal that nobody met: what was wanted, and the nearest candidate with its figures."""


def choose(
    candidates: Sequence[Candidate],
    goals: Sequence[Goal],
    results: Mapping[Architecture, Score],
) -> Choice:
    """Choose a network for each goal: the least objective; within limits, of those not told from it, the nearest.

    Every candidate that was evaluated competes for every goal: they have been paid for [ours]. Of equal objectives
    without limits the least complex wins; then a goal's own, then the first. A loss that is not finite is never chosen.

    Args:
        candidates: see `SearchOutcome.propose`; their `network` is a position in `goals`.
        goals: what is wanted.
        results: of every candidate's architecture, on all validation images.
    """
    measured = [_measured(each, goals[each.network], results) for each in candidates]
    groups, winners = [], []
    for number, goal in enumerate(goals):
        own = [each for each in measured if each.network == number]
        guests = [_as_guest(each, number, goal, results) for each in measured if each.network != number]
        able = [each for each in own + guests if each.within_budget and math.isfinite(each.objective)]
        best = min(able, key=lambda each: (each.objective, each.complexity), default=None)
        winner = best if best is None or not goal.limits else _nearest_of_the_good(able, best, goal, results)
        if winner is not None and all(winner is not each for each in own):
            own.append(winner)
        groups.append([_explained(each, winner, best, goal, results) for each in own])
        winners.append(winner)
    return _ranked(groups, winners, goals)


def _nearest_of_the_good(
    able: Sequence[Candidate], best: Candidate, goal: Goal, results: Mapping[Architecture, Score]
) -> Candidate:
    """The nearest to the limits of those not told from the best, and of those better than one of them."""
    bound = max(each.objective for each in able if each.objective - best.objective <= _error(each, best, results))
    good = [each for each in able if each.objective <= bound]
    return max(good, key=lambda each: (_excess(each, goal), -each.objective))


def _measured(candidate: Candidate, goal: Goal, results: Mapping[Architecture, Score]) -> Candidate:
    score = results[candidate.architecture]
    objective = score.loss + (goal.coefficient or 0.0) * candidate.complexity
    return dataclasses.replace(candidate, loss=score.loss, accuracy=score.accuracy, objective=objective)


def _error(candidate: Candidate, other: Candidate, results: Mapping[Architecture, Score]) -> float:
    """Standard error of the difference of their losses."""
    return standard_error(results[candidate.architecture].part_losses, results[other.architecture].part_losses)


def _as_guest(candidate: Candidate, number: int, goal: Goal, results: Mapping[Architecture, Score]) -> Candidate:
    """A candidate of another goal, considered for this one."""
    keeps = all(candidate.costs[name] <= limit for name, limit in goal.limits.items())
    return _measured(dataclasses.replace(candidate, network=number, within_budget=keeps), goal, results)


def _explained(
    candidate: Candidate,
    winner: Candidate | None,
    best: Candidate | None,
    goal: Goal,
    results: Mapping[Architecture, Score],
) -> Candidate:
    if not candidate.within_budget:
        reason = f"over budget: {_excesses(candidate, goal)}"
    elif winner is None or best is None or not math.isfinite(candidate.objective):
        reason = "its loss is not finite"
    elif candidate is winner:
        reason = _reason_of_winner(winner, best, goal, results)
    else:
        reason = _reason_of_loser(candidate, winner, goal)
    return dataclasses.replace(candidate, chosen=candidate is winner, reason=reason)


def _reason_of_winner(winner: Candidate, best: Candidate, goal: Goal, results: Mapping[Architecture, Score]) -> str:
    difference = winner.objective - best.objective
    if difference == 0:
        return f"chosen: least {objective_text(goal)}"
    return (
        f"chosen: nearest to the limit of those not told from the least {objective_text(goal)} "
        f"(loss {difference:.4f} above it, standard error {_error(winner, best, results):.4f})"
    )


def _reason_of_loser(candidate: Candidate, winner: Candidate, goal: Goal) -> str:
    what = "objective" if goal.coefficient else "loss"
    difference = candidate.objective - winner.objective
    if difference > 0:
        return f"{what} {difference:.4f} above the chosen one's"
    if difference < 0:
        return f"loss {-difference:.4f} below the chosen one's, too little to tell, and further below the limit"
    if goal.limits and _excess(candidate, goal) < _excess(winner, goal):
        return f"{what} equal to the chosen one's, which is nearer to the limit"
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
    ranked = [
        dataclasses.replace(each, network=network) for network, number in enumerate(order) for each in groups[number]
    ]
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
    """How far the worst of the costs is above its limit, as a share of the limit; negative: the room that is left."""
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
