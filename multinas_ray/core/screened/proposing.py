"""The screening set, from which a surrogate chooses: drawn from the distributions, near the best, and anywhere.

Notation: K distributions, D variables, C categories (padded), N samples, F parents of mutations. All [ours].
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.distributions import CategoryLayout, sample_architectures, stratified_sources

NUM_DRAWN, NUM_MUTATED, NUM_UNIFORM = 96, 128, 32
CHOSEN_OF_THESE = 8
"""For each further CHOSEN_OF_THESE architectures that are chosen from it at once, a screening set is as large again.
With one set of 256 for up to 32 choices, the losses of four networks on the large space of docs/experiments.md stayed
3.1 % above the best after 4,000 evaluations; with a larger one 2.0 %. [ours]"""
MUTATION_SIZES = np.array([1, 1, 2, 3])
"""Numbers of variables that a mutation changes; each entry is equally likely."""


def draw(probs_KDC: FloatArray, layout: CategoryLayout, count: int, rng: np.random.Generator) -> IntArray:
    """Returns (count, D) architectures, stratified over the distributions."""
    sources_N = stratified_sources(count, len(probs_KDC), rng)
    return sample_architectures(probs_KDC, sources_N, layout, rng)


def draw_uniform(layout: CategoryLayout, count: int, rng: np.random.Generator) -> IntArray:
    """Returns (count, D) architectures, all equally likely."""
    architectures_ND: IntArray = rng.integers(0, layout.last_D + 1, (count, len(layout.last_D)))
    return architectures_ND


def mutate(parents_FD: IntArray, layout: CategoryLayout, count: int, rng: np.random.Generator) -> IntArray:
    """Returns (count, D): random rows of `parents_FD` with one to three free variables changed."""
    children_ND = parents_FD[rng.integers(0, len(parents_FD), count)]
    size_N1 = rng.choice(MUTATION_SIZES, count)[:, None]
    order_ND = rng.random(children_ND.shape) + ~layout.free_D  # fixed variables come last
    chosen_ND = order_ND.argsort(axis=1).argsort(axis=1) < size_N1
    shift_ND = rng.integers(1, np.maximum(layout.last_D, 1) + 1, children_ND.shape)
    changed_ND: IntArray = (children_ND + shift_ND) % (layout.last_D + 1)
    return np.where(chosen_ND, changed_ND, children_ND)


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
    digits_D = [int(digit) for digit in draw_uniform(layout, 1, rng)[0]]
    for _ in range(math.prod(layout.num_categories)):
        architecture_D = np.array(digits_D, dtype=np.int64)
        if not is_taken(architecture_D):
            return architecture_D[None]
        for d in range(len(digits_D)):
            digits_D[d] = (digits_D[d] + 1) % layout.num_categories[d]
            if digits_D[d]:
                break
    return None
