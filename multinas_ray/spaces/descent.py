"""A local search over architectures.

Notation: N architectures, D variables.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from multinas_ray.spaces.search_space import IntArray


def descend(
    start: Sequence[int] | IntArray,
    num_categories: Sequence[int],
    score: Callable[[IntArray], npt.NDArray[np.float64]],
) -> IntArray:
    """Change one variable at a time, to the lowest score each time, until no such change lowers the score.

    Args:
        start: (D,) the architecture to begin with.
        num_categories: (D,) number of choices of each variable.
        score: returns (N,) scores, minimised, of (N, D) architectures.

    Returns:
        (D,) the final architecture.
    """
    places = np.repeat(np.arange(len(num_categories)), num_categories)
    choices = np.concatenate([np.arange(count) for count in num_categories])
    row_D: IntArray = np.array(start, dtype=np.int64)
    while True:
        rows_ND = np.repeat(row_D[None], 1 + len(places), axis=0)
        rows_ND[1 + np.arange(len(places)), places] = choices
        lowest_D = rows_ND[score(rows_ND).argmin()]
        if (lowest_D == row_D).all():
            return row_D
        row_D = lowest_D
