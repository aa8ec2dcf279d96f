"""Evaluations in their order: each network counts once, however often it comes, until the budget is spent."""

# K targets, N architectures, E evaluated networks
from collections.abc import Sequence

import numpy as np

from experiments.large_space.problem import Problem
from multinas_ray.spaces import FloatArray, IntArray


class BudgetSpentError(Exception):
    """No further network may be evaluated."""


class Record:
    """The networks evaluated so far. Known losses are free, for every method.

    Args:
        problem: the evaluator.
        budget: networks that may be evaluated.
    """

    def __init__(self, problem: Problem, budget: int) -> None:
        self._problem, self.budget = problem, budget
        self._loss_of: dict[tuple[int, ...], float] = {}

    def __len__(self) -> int:
        return len(self._loss_of)

    @property
    def left(self) -> int:
        """Networks that may still be evaluated."""
        return self.budget - len(self)

    def losses(self, architectures_ND: IntArray) -> FloatArray:
        """(N,) losses of architectures, known or evaluated now.

        Raises:
            BudgetSpentError: there are more new networks than may be evaluated; those that may be were.
        """
        keys = [tuple(row) for row in self._problem.equivalence.canonical(architectures_ND).tolist()]
        new = [key for key in dict.fromkeys(keys) if key not in self._loss_of]
        affordable = new[: self.left]
        if affordable:
            losses = self._problem.losses_of(np.array(affordable)).tolist()
            self._loss_of |= dict(zip(affordable, losses, strict=True))
        if len(affordable) < len(new):
            raise BudgetSpentError
        return np.array([self._loss_of[key] for key in keys])

    @property
    def architectures(self) -> IntArray:
        """(E, D) canonical architectures in the order of their evaluation."""
        return np.array(list(self._loss_of), dtype=np.int64).reshape(len(self), -1)

    @property
    def loss_E(self) -> FloatArray:
        """(E,) losses in the same order."""
        return np.array(list(self._loss_of.values()))


def interleaved(records: Sequence[Record], problem: Problem) -> Record:
    """One record of searches that are carried out by turns, an evaluation each."""
    merged = Record(problem, sum(record.budget for record in records))
    items = [list(record._loss_of.items()) for record in records]
    for place in range(max(map(len, items))):
        for each in items:
            if place < len(each):
                merged._loss_of.setdefault(*each[place])
    return merged


def best_so_far(record: Record, problem: Problem) -> FloatArray:
    """(E, K) least loss within each target after each evaluation; infinite before there is one."""
    flops_E1 = problem.cost(record.architectures)[:, None]
    within_EK = np.where(flops_E1 <= np.array(problem.targets), record.loss_E[:, None], np.inf)
    best_EK: FloatArray = np.minimum.accumulate(within_EK, axis=0)
    return best_EK
