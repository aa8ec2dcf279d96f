"""Mutations: architectures that differ from a parent in one or two blocks.

Notation: P parents, N architectures, D variables.
"""

import numpy as np

from multinas_ray.spaces import IntArray


def mutations(parents_PD: IntArray, num_categories: tuple[int, ...], number: int, rng: np.random.Generator) -> IntArray:
    """Change one or two blocks of random parents.

    Args:
        parents_PD: (P, D) the parents, at least one.
        num_categories: (D,) number of choices of each variable.
        number: N, how many mutations.
        rng: generator of the draws.

    Returns:
        (N, D) architectures. One and two changes are equally likely, and so are the variables that have a choice and
        all other choices of a changed one. A space with a single such variable has one change each, one without any
        gives the parents.
    """
    counts_D = np.asarray(num_categories)
    (free_F,) = np.nonzero(counts_D > 1)
    rows_ND = parents_PD[rng.integers(len(parents_PD), size=number)]
    if not len(free_F):
        return rows_ND
    first_N = rng.integers(len(free_F), size=number)
    second_N = (first_N + rng.integers(1, max(2, len(free_F)), size=number)) % len(free_F)
    has_second_N = (rng.random(number) < 0.5) & (len(free_F) > 1)
    for places_N, changed_N in ((first_N, np.ones(number, dtype=bool)), (second_N, has_second_N)):
        variables_N, rows_N = free_F[places_N[changed_N]], np.flatnonzero(changed_N)
        steps_N = rng.integers(1, counts_D[variables_N])
        rows_ND[rows_N, variables_N] = (rows_ND[rows_N, variables_N] + steps_N) % counts_D[variables_N]
    return rows_ND
