"""Searches of a fixed supernet: SPOS's evolution, and random draws. numpy alone.

The evolution is that of Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, ECCV 2020,
section 3.4 and its published code: 50 architectures a generation, the 10 best so far as parents, half of the children
by uniform crossover, half by mutation of each variable with probability 0.1; none twice, none above the limit.
"""

# N architectures, D variables

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Architecture = tuple[int, ...]

LossesOf = Callable[[IntArray], FloatArray]
"""(N, D) architectures to (N,) losses, minimised."""
Keeps = Callable[[IntArray], BoolArray]
"""(N, D) architectures to whether each is allowed."""

POPULATION, PARENTS = 50, 10
MUTATION = 0.1
DRAWS, TRIES = 1_000, 50
"""Architectures drawn at once where allowed ones are looked for, and how often before there are no more. [ours]"""


def evolve(
    losses_of: LossesOf,
    keeps: Keeps,
    num_categories: Sequence[int],
    evaluations: int,
    rng: np.random.Generator,
) -> list[Architecture]:
    """Evolve architectures within a limit.

    Args:
        losses_of: the supernet's losses.
        keeps: the limit.
        num_categories: (D,) of each variable.
        evaluations: architectures that may be evaluated, all different; fewer where no more are found within the limit.
        rng: of all draws.

    Returns:
        All that were evaluated, the best first.
    """
    found: dict[Architecture, float] = {}
    generation = random_within(keeps, num_categories, min(POPULATION, evaluations), found, rng)
    while generation:
        found |= dict(zip(generation, losses_of(np.array(generation)).tolist(), strict=True))
        size = min(POPULATION, evaluations - len(found))
        parents = np.array(sorted(found, key=found.__getitem__)[:PARENTS])
        generation = _children(parents, keeps, num_categories, size, found, rng)
    return sorted(found, key=found.__getitem__)


def random_within(
    keeps: Keeps,
    num_categories: Sequence[int],
    count: int,
    known: Sequence[Architecture] | dict[Architecture, float],
    rng: np.random.Generator,
) -> list[Architecture]:
    """Uniform draws among the allowed architectures, all different and none known; fewer where no more are found."""
    return _collect(lambda: rng.integers(0, num_categories, (DRAWS, len(num_categories))), keeps, count, known)


def _children(
    parents_ND: IntArray,
    keeps: Keeps,
    num_categories: Sequence[int],
    size: int,
    known: dict[Architecture, float],
    rng: np.random.Generator,
) -> list[Architecture]:
    """A generation: mutants, crossings, and random architectures where too few of either are new."""
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
    """New and allowed architectures in the order they are drawn, at most `count`."""
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
