"""The non-dominated part of a set of evaluations."""

import moocore
import numpy as np
import numpy.typing as npt

from multinas_ray.errors import ConfigError


def pareto_front(losses: npt.NDArray[np.float64], complexities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Find the evaluations that no other beats in loss and complexity at once.

    Args:
        losses: (n,), minimised.
        complexities: (n,), minimised.

    Returns:
        Positions of the front, from small to large complexity. Failed evaluations (a value that is not
        finite) are left out; of equal points the first stays.

    Raises:
        ConfigError: The arrays differ in length.
    """
    if losses.shape != complexities.shape or losses.ndim != 1:
        raise ConfigError(f"losses and complexities must be (n,) alike, not {losses.shape} and {complexities.shape}")
    finite = np.flatnonzero(np.isfinite(losses) & np.isfinite(complexities))
    if not len(finite):
        return finite
    points = np.stack([losses[finite], complexities[finite]], axis=1)
    front: npt.NDArray[np.int64] = finite[moocore.is_nondominated(points)]
    return front[np.argsort(complexities[front], kind="stable")]
