"""The pool: which networks are considered for a goal.

"Selection is more than the mode" (docs/METHOD.md): weighted sums skip the concave parts of a front, and the best of
everything evaluated reach more of it than the K modes. Where a supernet ranks well, a search of a few hundred networks
in the last part of the budget finds more than any ten. How many of each kind are considered is ours. [ours]

Notation: D variables, N architectures, P parents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from multinas_ray.errors import ConfigError
from multinas_ray.selection.budget import Budget
from multinas_ray.selection.cheapest import cheapest_architectures
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.mutation import mutations
from multinas_ray.selection.outcome import Architecture, SearchOutcome
from multinas_ray.selection.slice_draws import SliceDraws
from multinas_ray.settings import Measured, checked, checked_arguments
from multinas_ray.spaces import IntArray

NUM_PARENTS = 16
"""Best networks of a pool whose mutations join it. [ours]"""
MUTATIONS = 2048
"""Mutations that are made at once, of which those in the slice join the pool."""
MOST_MUTATIONS = 10
"""How often so many are made before no more are sought. [ours]"""
ORIGINS = ("mode", "evaluated", "drawn", "mutated", "slice", "cheapest")


@checked
@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network that is considered for a goal."""

    goal: int
    """Position of the goal in the list of goals."""
    origin: str
    """Where it comes from, one of ORIGINS."""
    architecture: Architecture
    """Canonical."""
    costs: Mapping[str, float]
    """Every cost of the network, in its own unit."""
    complexity: float
    """The cost that the search weighed, divided by its scale."""
    evaluation_id: int | None
    """Id of its newest evaluation in the record; None if the search never evaluated it."""
    recorded_loss: Measured | None
    """Mean of its losses during the search; None if the search never evaluated it."""
    within_budget: bool
    """Whether it keeps every limit of the goal."""


@checked_arguments
def candidates_for(
    outcome: SearchOutcome, goals: Sequence[Goal], number: int, share: float, rng: np.random.Generator
) -> list[Candidate]:
    """Collect the candidates of every goal, each network once for a goal.

    Origins, in this order:
        mode: of every distribution whose likeliest architecture keeps the limits, wherever below them it lies. (For a
            coefficient: of its own distribution.)
        evaluated: the best of the record within the limits, also those below the slice.
        drawn: from the distribution, tempered (see `SearchOutcome.tempered_probs`), given that they lie in the slice.
        mutated: one or two blocks of the best of the above changed, if that lies in the slice.
        slice: drawn uniformly from the networks in the last `share` of the budget.
        cheapest: where nothing else keeps the limits, see `cheapest_architectures`.
    The last four kinds but "cheapest" share what the modes leave in about equal parts. What is still missing comes from
    the slice and then, where it has no more networks, from parts of the budget twice as large, and so on. A coefficient
    has no slice; there draws take its part.

    Args:
        outcome: what the search has found.
        goals: the goals.
        number: candidates of each goal; there are fewer if the budget has fewer networks, or no more are found.
        share: part of a budget that is its slice, in (0, 1].
        rng: generator of the draws.

    Raises:
        ConfigError: `number` is below 1, or `share` is not above 0 and at most 1.
    """
    if number < 1:
        raise ConfigError(f"candidates_per_network must be at least 1, got {number}")
    if not 0 < share <= 1:
        raise ConfigError(f"slice_share must be above 0 and at most 1, got {share:g}")
    draws = SliceDraws(outcome.search_space, outcome.equivalence)
    candidates = []
    for place, goal in enumerate(goals):
        if goal.limits:
            origins = _within_limits(outcome, draws, goal, number, share, rng)
        else:
            origins = _around_the_front(outcome, draws, goal, number, rng)
        candidates += _described(outcome, place, goal, origins)
    return candidates


class _Pool:
    """The origins of a goal's candidates, as far as they are collected."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.origins: dict[Architecture, str] = {}

    @property
    def missing(self) -> int:
        return self.size - len(self.origins)

    def part(self, number: int) -> int:
        """One of so many equal parts of what is missing, rounded up."""
        return -(-self.missing // number)

    def add(self, origin: str, rows_ND: IntArray, at_most: int) -> None:
        """Add the first networks that are not in the pool yet."""
        left = min(at_most, self.missing)
        for row in map(tuple, rows_ND.tolist()):
            if left <= 0:
                return
            if row not in self.origins:
                self.origins[row] = origin
                left -= 1


def _within_limits(
    outcome: SearchOutcome, draws: SliceDraws, goal: Goal, number: int, share: float, rng: np.random.Generator
) -> dict[Architecture, str]:
    budget = Budget(goal.limits, outcome.costs)
    pool = _Pool(number)
    modes_MD = outcome.modes_for(goal)
    pool.add("mode", modes_MD[budget.keeps(modes_MD)], number)
    pool.add("evaluated", outcome.best_evaluated(goal, number), pool.part(4))
    at_most = pool.part(3)
    for k in outcome.distributions_for(goal):
        before = pool.missing
        enough = at_most + len(pool.origins)
        pool.add("drawn", draws.draw(budget, enough, share, rng, outcome.tempered_probs(k)), at_most)
        at_most -= before - pool.missing
        if at_most <= 0:
            break
    _add_mutations(pool, pool.part(2), outcome, budget, share, rng)
    while pool.missing:
        pool.add("slice", draws.draw(budget, number, share, rng), pool.missing)
        if share >= 1:
            break
        share *= 2
    if pool.origins:
        return pool.origins
    nearest_ND = cheapest_architectures(budget, outcome.search_space.num_categories, outcome.architectures_AD, rng)
    cheapest = map(tuple, outcome.equivalence.canonical(nearest_ND).tolist())
    return {**dict.fromkeys(cheapest, "cheapest"), tuple(modes_MD[0].tolist()): "mode"}


def _around_the_front(
    outcome: SearchOutcome, draws: SliceDraws, goal: Goal, number: int, rng: np.random.Generator
) -> dict[Architecture, str]:
    """The pool of a coefficient, which has no slice."""
    everything, pool = Budget({}, outcome.costs), _Pool(number)
    pool.add("mode", outcome.modes_for(goal), number)
    pool.add("evaluated", outcome.best_evaluated(goal, number), pool.part(3))
    probs_DC = outcome.tempered_probs(outcome.distributions_for(goal)[0])
    pool.add("drawn", draws.draw(everything, number, 1.0, rng, probs_DC), pool.part(2))
    _add_mutations(pool, pool.missing, outcome, everything, 1.0, rng)
    pool.add("drawn", draws.draw(everything, number, 1.0, rng, probs_DC), pool.missing)
    return pool.origins


def _add_mutations(
    pool: _Pool, at_most: int, outcome: SearchOutcome, budget: Budget, share: float, rng: np.random.Generator
) -> None:
    """Add mutations of the pool's first networks, which are its modes and its best evaluated ones."""
    if not pool.origins:
        return
    parents_PD, number = np.array(list(pool.origins)[:NUM_PARENTS], dtype=np.int64), budget.num_draws(MUTATIONS)
    for _ in range(MOST_MUTATIONS):
        if at_most <= 0:
            return
        before = pool.missing
        mutated_ND = mutations(parents_PD, outcome.search_space.num_categories, number, rng)
        mutated_ND = outcome.equivalence.canonical(mutated_ND)
        pool.add("mutated", mutated_ND[budget.uses(mutated_ND, share)], at_most)
        at_most -= before - pool.missing


def _described(outcome: SearchOutcome, place: int, goal: Goal, origins: Mapping[Architecture, str]) -> list[Candidate]:
    """The candidates of a goal with their costs and what the record has of them."""
    rows_ND = np.array(list(origins), dtype=np.int64)
    costs = {name: cost(rows_ND).tolist() for name, cost in outcome.costs.items()}
    complexities = outcome.complexities(rows_ND).tolist()
    keeps = Budget(goal.limits, outcome.costs).keeps(rows_ND).tolist()
    known = outcome.places_of(list(origins))
    return [
        Candidate(
            goal=place,
            origin=origin,
            architecture=architecture,
            costs={name: values[n] for name, values in costs.items()},
            complexity=complexities[n],
            evaluation_id=None if known[n] is None else int(outcome.ids_A[known[n]]),
            recorded_loss=None if known[n] is None else float(outcome.losses_A[known[n]]),
            within_budget=keeps[n],
        )
        for n, (architecture, origin) in enumerate(origins.items())
    ]
