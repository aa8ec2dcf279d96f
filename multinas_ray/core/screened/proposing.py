"""The screening set, from which a surrogate chooses: drawn from the distributions, near the best, and anywhere.

Notation: K distributions, D variables, C categories (padded), N samples, F parents of mutations. All [ours].
"""

import math
import sys
from collections.abc import Callable, Sequence

import numpy as np

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.distributions import sample_architectures, stratified_sources
from multinas_ray.core.layout import INACTIVE, CategoryLayout

NUM_DRAWN, NUM_MUTATED, NUM_UNIFORM = 96, 128, 32
CHOSEN_OF_THESE = 8
"""For each further CHOSEN_OF_THESE architectures that are chosen from it at once, a screening set is as large again.
With one set of 256 for up to 32 choices, the losses of four networks on the large space of docs/experiments.md stayed
3.1 % above the best after 4,000 evaluations; with a larger one 2.0 %. [ours]"""
MUTATION_SIZES = np.array([1, 1, 2, 3])
"""Numbers of variables that a mutation changes; each entry is equally likely."""
SHORTEST_MOVE = 1e-3
"""Shortest move of a mutated ordered variable, as a share of its range."""


def draw(probs_KDC: FloatArray, layout: CategoryLayout, count: int, rng: np.random.Generator) -> IntArray:
    """Returns (count, D) architectures, stratified over the distributions."""
    sources_N = stratified_sources(count, len(probs_KDC), rng)
    return sample_architectures(probs_KDC, sources_N, layout, rng)


def draw_uniform(layout: CategoryLayout, count: int, rng: np.random.Generator) -> IntArray:
    """Returns (count, D) architectures in which all values of each variable are equally likely."""
    return layout.without_inactive(_draw_values(layout, count, rng))


def mutate(parents_FD: IntArray, layout: CategoryLayout, count: int, rng: np.random.Generator) -> IntArray:
    """Returns (count, D): random rows of `parents_FD` with one to three free variables changed.

    The value of an ordered variable moves by a share of its range, each order of magnitude down to SHORTEST_MOVE being
    equally likely.
    """
    children_ND = parents_FD[rng.integers(0, len(parents_FD), count)]
    size_N1 = rng.choice(MUTATION_SIZES, count)[:, None]
    order_ND = rng.random(children_ND.shape) + ~layout.free_D  # fixed variables come last
    chosen_ND = order_ND.argsort(axis=1).argsort(axis=1) < size_N1
    num_values_D = np.array(layout.num_values)
    shift_ND = rng.integers(1, np.maximum(num_values_D - 1, 1) + 1, children_ND.shape)
    if layout.conditional:
        children_ND = np.where(children_ND == INACTIVE, _draw_values(layout, count, rng), children_ND)
    changed_ND: IntArray = (children_ND + shift_ND) % num_values_D
    for d in layout.ordered:
        reach_N = np.maximum(num_values_D[d] * SHORTEST_MOVE ** rng.random(count), 1.0).astype(np.int64)
        moved_N = children_ND[:, d] + np.where(rng.random(count) < 0.5, reach_N, -reach_N)
        changed_ND[:, d] = np.clip(moved_N, 0, num_values_D[d] - 1)
    return layout.without_inactive(np.where(chosen_ND, changed_ND, children_ND))


def _draw_values(layout: CategoryLayout, count: int, rng: np.random.Generator) -> IntArray:
    values_ND: IntArray = rng.integers(0, np.array(layout.num_values), (count, len(layout.num_values)))
    return values_ND


def screening_set(
    probs_KDC: FloatArray, parents_FD: IntArray, layout: CategoryLayout, num_chosen: int, rng: np.random.Generator
) -> IntArray:
    """Returns (N, D) architectures, some of them mutations of the parents; some may be known or occur twice.

    Args:
        probs_KDC: the distributions.
        parents_FD: the best so far.
        layout: the variables' categories.
        num_chosen: how many will be chosen from the set.
        rng: of the draws.
    """
    times = 1 + num_chosen // CHOSEN_OF_THESE
    parts = [draw(probs_KDC, layout, times * NUM_DRAWN, rng), draw_uniform(layout, times * NUM_UNIFORM, rng)]
    if len(parents_FD):
        parts.append(mutate(parents_FD, layout, times * NUM_MUTATED, rng))
    return np.concatenate(parts)


def by_turns(lists: Sequence[Sequence[Sequence[int]]], count: int, layout: CategoryLayout) -> IntArray:
    """Returns (F, D): the first `count` architectures of each list, one of each by turns."""
    rows = [each[place] for place in range(count) for each in lists if place < len(each)]
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(layout.last_D))


def first_unseen(
    layout: CategoryLayout, is_taken: Callable[[IntArray], bool], rng: np.random.Generator
) -> IntArray | None:
    """Returns (1, D): an architecture that is not taken; None if all are.

    It counts through the space from a random start, so it looks at no more than the taken ones and one more.
    """
    digits_D = [int(digit) for digit in _draw_values(layout, 1, rng)[0]]
    for _ in range(min(math.prod(layout.num_values), sys.maxsize)):
        architecture_D: IntArray = layout.without_inactive(np.array([digits_D], dtype=np.int64))[0]
        if not is_taken(architecture_D):
            return architecture_D[None]
        for d in range(len(digits_D)):
            digits_D[d] = (digits_D[d] + 1) % layout.num_values[d]
            if digits_D[d]:
                break
    return None
