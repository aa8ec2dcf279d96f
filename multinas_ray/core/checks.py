"""Checks of the arguments of ask and tell."""

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import BoolArray, FloatArray, IntArray
from multinas_ray.core.layout import INACTIVE, CategoryLayout
from multinas_ray.core.proposals import Evaluations, Proposals, real_numbers
from multinas_ray.core.reader import MOST_NUMBER
from multinas_ray.errors import ConfigError

MOST_COMPLEXITY = 1e100
"""The squares of larger ones would overflow."""


def checked_count(n: int | None, default: int | None) -> int:
    """Returns the number of samples asked for, `default` if None.

    Raises:
        ConfigError: It is not a whole number from 1.
    """
    count = default if n is None else n
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ConfigError(f"n must be a whole number of samples from 1, got {n!r}")
    return int(count)


def checked_first_id(first_id: int) -> int:
    """Returns the id from which numbering continues.

    Raises:
        ConfigError: It is not a whole number from 0.
    """
    is_whole = isinstance(first_id, int | np.integer) and not isinstance(first_id, bool)
    if not is_whole or not 0 <= first_id < MOST_NUMBER:
        raise ConfigError(f"first_id must be a whole number from 0 and below 2**62, got {str(first_id)[:40]}")
    return int(first_id)


def checked_evaluations(
    proposals: Proposals, losses: npt.ArrayLike, complexities: npt.ArrayLike, layout: CategoryLayout
) -> Evaluations:
    """Returns the told results, row by row.

    Raises:
        ConfigError: Shapes do not match or an architecture is not of the space.
    """
    told = Evaluations(
        proposals=proposals,
        losses=real_numbers(losses, "losses"),
        complexities=real_numbers(complexities, "complexities"),
    )
    _check_architectures(proposals, layout)
    return told


def _check_architectures(proposals: Proposals, layout: CategoryLayout) -> None:
    architectures_ND, counts = proposals.architectures, layout.num_values
    if architectures_ND.shape[1] != len(counts):
        raise ConfigError(f"architectures must have {len(counts)} variables, got {architectures_ND.shape[1]}")
    outside_ND = layout.outside(architectures_ND)
    if outside_ND.any():
        i, d = np.argwhere(outside_ND)[0]
        rule = f"a category from 0 to {counts[d] - 1}"
        if d in layout.conditional:
            rule += f" where the variable is active and {INACTIVE} elsewhere"
        raise ConfigError(f"architectures[{i}, {d}] must be {rule}, got {architectures_ND[i, d]}")


def are_complexities(values_N: FloatArray) -> BoolArray:
    """Returns (N,): whether each value can be the complexity of an evaluation that did not fail."""
    fits_N: BoolArray = (values_N >= 0.0) & (values_N <= MOST_COMPLEXITY)
    return fits_N


def check_complexities(evaluations: Evaluations) -> None:
    """Checks that every evaluation that did not fail has a complexity.

    Raises:
        ConfigError: A complexity is not finite, or it is negative.
    """
    complexities_N = evaluations.complexities
    bad_N = np.isfinite(evaluations.losses) & ~are_complexities(complexities_N)
    if bad_N.any():
        i = int(bad_N.argmax())
        raise ConfigError(
            f"complexity of id {evaluations.proposals.ids[i]} must be finite, at least 0 and at most "
            f"{MOST_COMPLEXITY:g}, "
            f"got {complexities_N[i]}; give a failed evaluation a loss of inf"
        )


def checked_ids(ids_N: object) -> IntArray:
    """Returns ids to forget.

    Raises:
        ConfigError: They are not whole numbers from 0.
    """
    ids = np.atleast_1d(np.asarray(ids_N))
    if ids.ndim != 1 or (ids.size and (ids.dtype.kind not in "iu" or ids.min() < 0 or ids.max() >= MOST_NUMBER)):
        raise ConfigError(f"ids to forget must be whole numbers from 0 and below 2**62, got {str(ids_N)[:40]!r}")
    return ids.astype(np.int64)
