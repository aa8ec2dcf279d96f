"""The ways to search: each spends a budget of evaluations on K networks within K targets."""

# K targets, N architectures, D positions

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.compare.evolution import PARENTS, POPULATION, evolve
from experiments.large_space.problem import Problem
from experiments.large_space.record import BudgetSpentError, Record, interleaved
from multinas_ray import selection
from multinas_ray.core import OptimizerSettings, make_optimizer, optimizer_kind
from multinas_ray.spaces import CostSlice, IntArray

SLICE = 0.9
"""Random networks have more than this share of their target."""
DRAWN_FOR_ONE = 10
"""With a prior, so many networks are drawn for each one that is proposed."""

Search = Callable[[Problem, int, int], Record]
"""From a problem, a budget and a seed to what was evaluated, in order."""


def drawn_in_slice(problem: Problem, target: float, number: int, rng: np.random.Generator) -> IntArray:
    """Different networks of 90 to 100 % of a target, drawn exactly uniformly."""
    part = CostSlice(problem.cost, SLICE * target, target, equivalence=problem.equivalence)
    return part.draw_distinct(number, rng)


def first_by_prior(problem: Problem, target: float, number: int, rng: np.random.Generator) -> IntArray:
    """The networks that the prior ranks first among DRAWN_FOR_ONE times as many of a slice, the best first."""
    drawn_ND = drawn_in_slice(problem, target, DRAWN_FOR_ONE * number, rng)
    return selection.best_by_prior(problem.prior_parts, drawn_ND, number)


def random_in_slices(draw: Callable[[Problem, float, int, np.random.Generator], IntArray]) -> Search:
    """Different networks of 90 to 100 % of each target, a Kth of the budget each, in the order in which they come."""

    def search(problem: Problem, budget: int, seed: int) -> Record:
        rng, records = np.random.default_rng((seed, 1)), []
        for target, share in _shares(problem, budget):
            record = Record(problem, share)
            record.losses(draw(problem, target, share, rng))
            records.append(record)
        return interleaved(records, problem)

    return search


def evolution(*, with_prior: bool = False, population: int = POPULATION, num_parents: int = PARENTS) -> Search:
    """Evolution for each target, with a Kth of the budget each, see `evolve`.

    Without a prior its first generation is drawn uniformly from the networks within the target.
    """

    def search(problem: Problem, budget: int, seed: int) -> Record:
        rng, records = np.random.default_rng((seed, 2)), []
        categories = problem.space.search_space.num_categories
        for target, share in _shares(problem, budget):
            record = Record(problem, share)

            def keeps(rows_ND: IntArray, target: float = target) -> Any:
                return problem.cost(rows_ND) <= target

            with suppress(BudgetSpentError):  # equal networks are free, so that more architectures may come
                evolve(
                    record.losses,
                    keeps,
                    categories,
                    100 * share,
                    rng,
                    population=population,
                    num_parents=num_parents,
                    first_ND=first_by_prior(problem, target, population, rng) if with_prior else None,
                )
            records.append(record)
        return interleaved(records, problem)

    return search


def ours(**settings: Any) -> Search:
    """The K distributions together, told every loss; with start="prior" they start near what the prior ranks first."""

    def search(problem: Problem, budget: int, seed: int) -> Record:
        record, known = Record(problem, budget), dict(settings)
        if known.get("start") == "prior":
            known["start_architectures"] = promising_near_targets(problem, seed)
        optimizer = make_optimizer(settings_of(problem, **known), seed=(seed, 3))
        with suppress(BudgetSpentError):
            while True:
                proposals = optimizer.ask()
                costs_N = problem.cost(proposals.architectures) / problem.cost.maximum
                optimizer.tell(proposals, record.losses(proposals.architectures), costs_N)
        return record

    return search


def promising_near_targets(problem: Problem, seed: int) -> list[IntArray]:
    """What the prior ranks first near each target, as a one-shot search finds it."""
    rng, share = np.random.default_rng((seed, 4)), round(1.0 - SLICE, 9)
    return selection.promising_networks(problem.space, problem.cost, problem.targets, share, problem.prior_parts, rng)


def settings_of(problem: Problem, *, kind: str = "distributions", **settings: Any) -> OptimizerSettings:
    """Settings of an optimiser for the targets of a problem; complexities are shares of the largest."""
    cost = problem.cost
    return optimizer_kind(kind)(
        num_categories=cost.num_categories,
        targets=tuple(target / cost.maximum for target in problem.targets),
        cost_table=cost.table / cost.maximum,
        base_cost=cost.base / cost.maximum,
        margin_scale=0.5,
        **settings,
    )


def _shares(problem: Problem, budget: int) -> list[tuple[float, int]]:
    """Each target with its part of the budget."""
    return [(target, budget // len(problem.targets)) for target in problem.targets]


@dataclass(frozen=True)
class Method:
    """A way to search."""

    title: str
    search: Search


REUSE: dict[str, Any] = {"memory": 4, "samples_per_update": 16}
METHODS = {
    "random": Method("Random in the slices", random_in_slices(drawn_in_slice)),
    "evolution": Method("Evolution for each target (SPOS)", evolution()),
    "evolution-small": Method("The same, generations of 10 from 5", evolution(population=10, num_parents=5)),
    "ours-reuse": Method("MultiNAS, reuse", ours(**REUSE)),
    "ours": Method("MultiNAS, screened", ours(kind="screened")),
    "random-prior": Method("Random in the slices, by the prior", random_in_slices(first_by_prior)),
    "evolution-prior": Method("Evolution (SPOS), from the prior", evolution(with_prior=True)),
    "evolution-small-prior": Method(
        "The same, 10 from 5, from the prior", evolution(with_prior=True, population=10, num_parents=5)
    ),
    "ours-reuse-prior": Method("MultiNAS, reuse, from the prior", ours(start="prior", **REUSE)),
    "ours-prior": Method("MultiNAS, screened, from the prior", ours(kind="screened", start="prior")),
    "ours-plain": Method("MultiNAS, as while weights train", ours()),
    "ours-reuse-start": Method("MultiNAS, reuse, start near the targets", ours(start="targets", **REUSE)),
    "ours-start": Method("MultiNAS, screened, start near the targets", ours(kind="screened", start="targets")),
}
DEFAULTS = tuple(METHODS)[: tuple(METHODS).index("ours-prior") + 1]
"""Compared if nothing else is asked for: each method without and with the prior."""
