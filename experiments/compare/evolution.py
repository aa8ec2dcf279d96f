"""Searches of a fixed supernet: SPOS's evolution, and random draws. With numpy only.

The evolution is that of Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020,
section 3.4 and its published code. A generation has 50 architectures, with the 10 best so far as parents; half of the
children come from uniform crossover, and half from mutation of each variable with probability 0.1. No architecture
occurs twice, and none is above the limit.
"""

# N architectures, D variables

from collections.abc import Callable, Sequence

import numpy as np

from multinas_ray.spaces import BoolArray, FloatArray, IntArray

Architecture = tuple[int, ...]

LossesOf = Callable[[IntArray], FloatArray]
"""Returns (N,) losses, minimised, of (N, D) architectures."""
Keeps = Callable[[IntArray], BoolArray]
"""Returns (N,) whether each of (N, D) architectures is allowed."""

POPULATION, PARENTS = 50, 10
MUTATION = 0.1
DRAWS, TRIES = 1_000, 50
"""Number of architectures drawn at once to find allowed ones, and number of draws before giving up. [ours]"""


def evolve(
    losses_of: LossesOf,
    keeps: Keeps,
    num_categories: Sequence[int],
    evaluations: int,
    rng: np.random.Generator,
    *,
    population: int = POPULATION,
    num_parents: int = PARENTS,
    first_ND: IntArray | None = None,
) -> list[Architecture]:
    """Evolve architectures within a limit.

    Args:
        losses_of: the supernet's losses.
        keeps: the limit.
        num_categories: (D,) categories of each variable.
        evaluations: number of different architectures to evaluate; fewer if no more are found within the limit.
        rng: generator of all draws.
        population: number of architectures in a generation.
        num_parents: number of the best architectures so far from which a generation comes.
        first_ND: different architectures within the limit, the first generation; None: uniform draws.

    Returns:
        All evaluated architectures, the best first.
    """
    found: dict[Architecture, float] = {}
    if first_ND is None:
        generation = random_within(keeps, num_categories, min(population, evaluations), found, rng)
    else:
        generation = [tuple(row) for row in first_ND[:evaluations].tolist()]
    while generation:
        found |= dict(zip(generation, losses_of(np.array(generation)).tolist(), strict=True))
        size = min(population, evaluations - len(found))
        parents = np.array(sorted(found, key=found.__getitem__)[:num_parents])
        generation = _children(parents, keeps, num_categories, size, found, rng)
    return sorted(found, key=found.__getitem__)


def random_within(
    keeps: Keeps,
    num_categories: Sequence[int],
    count: int,
    known: Sequence[Architecture] | dict[Architecture, float],
    rng: np.random.Generator,
) -> list[Architecture]:
    """Uniform draws of allowed architectures, all different and none known; fewer if no more are found."""
    return _collect(lambda: rng.integers(0, num_categories, (DRAWS, len(num_categories))), keeps, count, known)


def _children(
    parents_ND: IntArray,
    keeps: Keeps,
    num_categories: Sequence[int],
    size: int,
    known: dict[Architecture, float],
    rng: np.random.Generator,
) -> list[Architecture]:
    """A generation of mutants and crossings, filled up with random architectures if too few of them are new."""
    half = size // 2
    children = _collect(lambda: _mutants(parents_ND, num_categories, rng), keeps, half, known)
    crossed = _collect(lambda: _crossings(parents_ND, rng), keeps, size - half, [*known, *children])
    children += crossed
    return children + random_within(keeps, num_categories, size - len(children), [*known, *children], rng)


def _mutants(parents_ND: IntArray, num_categories: Sequence[int], rng: np.random.Generator) -> IntArray:
    chosen_ND = parents_ND[rng.integers(0, len(parents_ND), DRAWS)]
    others_ND = rng.integers(0, num_categories, chosen_ND.shape)
    children_ND: IntArray = np.where(rng.random(chosen_ND.shape) < MUTATION, others_ND, chosen_ND)
    return children_ND


def _crossings(parents_ND: IntArray, rng: np.random.Generator) -> IntArray:
    first_ND, second_ND = parents_ND[rng.integers(0, len(parents_ND), (2, DRAWS))]
    children_ND: IntArray = np.where(rng.random(first_ND.shape) < 0.5, first_ND, second_ND)
    return children_ND


def _collect(
    draw: Callable[[], IntArray],
    keeps: Keeps,
    count: int,
    known: Sequence[Architecture] | dict[Architecture, float],
) -> list[Architecture]:
    """At most `count` new and allowed architectures in the order in which they are drawn."""
    seen = set(known)
    new: list[Architecture] = []
    for _ in range(TRIES):
        if len(new) >= count:
            break
        drawn_ND = draw()
        for architecture in map(tuple, drawn_ND[keeps(drawn_ND)].tolist()):
            if architecture not in seen:
                seen.add(architecture)
                new.append(architecture)
    return new[: max(0, count)]
