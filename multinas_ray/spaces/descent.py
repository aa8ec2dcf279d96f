"""A local search over architectures.

Notation: N architectures, D variables.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from multinas_ray.errors import ConfigError, raised_by
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces.search_space import IntArray


@checked_arguments
def descend(
    start: Sequence[int] | IntArray,
    num_categories: Sequence[int],
    score: Callable[[IntArray], npt.NDArray[np.float64]],
) -> IntArray:
    """Change one variable at a time, to the lowest score each time, until no such change lowers the score.

    Args:
        start: (D,) the architecture to begin with.
        num_categories: (D,) number of choices of each variable.
        score: returns (N,) scores, minimised, of (N, D) architectures; NaN counts as the largest.

    Returns:
        (D,) the final architecture.
    """
    row_D: IntArray = np.array(start, dtype=np.int64)
    counts_D = np.asarray(num_categories)
    if not len(row_D) or row_D.shape != counts_D.shape or ((row_D < 0) | (row_D >= counts_D)).any():
        raise ConfigError(f"start must have a category below each of num_categories={num_categories}, got {start}")
    places = np.repeat(np.arange(len(num_categories)), num_categories)
    choices = np.concatenate([np.arange(count) for count in num_categories])
    while True:
        rows_ND = np.repeat(row_D[None], 1 + len(places), axis=0)
        rows_ND[1 + np.arange(len(places)), places] = choices
        scores_N = np.where(np.isnan(scores_N := _scores(score, rows_ND)), np.inf, scores_N)
        lowest = int(scores_N.argmin())
        if not scores_N[lowest] < scores_N[0]:
            return row_D
        row_D = rows_ND[lowest]


def _scores(score: Callable[[IntArray], npt.NDArray[np.float64]], rows_ND: IntArray) -> npt.NDArray[np.float64]:
    with raised_by("score"):
        return np.asarray(score(rows_ND), dtype=np.float64)
