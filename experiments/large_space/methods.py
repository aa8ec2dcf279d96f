"""The ways to search: each spends a budget of evaluations on K networks within K targets."""

# K targets, N architectures, D positions

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.compare.evolution import evolve
from experiments.large_space.problem import IntArray, Problem
from experiments.large_space.record import BudgetSpentError, Record, interleaved
from multinas_ray.core import OptimizerSettings, make_optimizer, optimizer_kind
from multinas_ray.spaces import CostSlice

SLICE = 0.9
"""Random networks have more than this share of their target."""

Search = Callable[[Problem, int, int], Record]
"""From a problem, a budget and a seed to what was evaluated, in order."""


def random_in_slices(problem: Problem, budget: int, seed: int) -> Record:
    """Different networks of 90 to 100 % of each target, drawn exactly uniformly, a Kth of the budget each."""
    rng, records = np.random.default_rng((seed, 1)), []
    for target, share in _shares(problem, budget):
        record = Record(problem, share)
        part = CostSlice(problem.cost, SLICE * target, target, equivalence=problem.equivalence)
        record.losses(part.draw_distinct(share, rng))
        records.append(record)
    return interleaved(records, problem)


def evolution(**settings: int) -> Search:
    """Evolution for each target, with a Kth of the budget each; see `evolve` for its settings."""

    def search(problem: Problem, budget: int, seed: int) -> Record:
        rng, records = np.random.default_rng((seed, 2)), []
        categories = problem.space.search_space.num_categories
        for target, share in _shares(problem, budget):
            record = Record(problem, share)

            def keeps(rows_ND: IntArray, target: float = target) -> Any:
                return problem.cost(rows_ND) <= target

            with suppress(BudgetSpentError):  # equal networks are free, so that more architectures may come
                evolve(record.losses, keeps, categories, 100 * share, rng, **settings)
            records.append(record)
        return interleaved(records, problem)

    return search


def ours(**settings: Any) -> Search:
    """The K distributions together, told every loss."""

    def search(problem: Problem, budget: int, seed: int) -> Record:
        record = Record(problem, budget)
        optimizer = make_optimizer(settings_of(problem, **settings), seed=(seed, 3))
        with suppress(BudgetSpentError):
            while True:
                proposals = optimizer.ask()
                costs_N = problem.cost(proposals.architectures) / problem.cost.maximum
                optimizer.tell(proposals, record.losses(proposals.architectures), costs_N)
        return record

    return search


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


METHODS = {
    "random": Method("Random in the slices", random_in_slices),
    "evolution": Method("Evolution for each target (SPOS)", evolution()),
    "evolution-small": Method("The same, generations of 10 from 5", evolution(population=10, num_parents=5)),
    "ours-plain": Method("MultiNAS, as while weights train", ours()),
    "ours-reuse": Method("MultiNAS, reuse", ours(memory=4, samples_per_update=16)),
    "ours-reuse-start": Method(
        "MultiNAS, reuse, start near the targets", ours(memory=4, samples_per_update=16, start="targets")
    ),
    "ours": Method("MultiNAS, screened", ours(kind="screened")),
    "ours-start": Method("MultiNAS, screened, start near the targets", ours(kind="screened", start="targets")),
}
