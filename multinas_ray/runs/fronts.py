"""The non-dominated part of a set of evaluations."""

import moocore
import numpy as np
import numpy.typing as npt

from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments


@checked_arguments
def nondominated(losses: npt.NDArray[np.float64], complexities: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Find the evaluations that no other beats in loss and complexity, or in all costs if there are several.

    Args:
        losses: (n,), minimised.
        complexities: (n,) or (n, J) for J costs, minimised.

    Returns:
        Positions of the front, from small to large complexity (first cost). Failed evaluations (a value that is not
        finite) are left out; of equal points the first is kept.

    Raises:
        ConfigError: The arrays have different lengths.
    """
    if losses.ndim != 1 or losses.shape != complexities.shape[:1] or complexities.ndim > 2:
        raise ConfigError(
            f"losses and complexities must have the same shape (n,), got {losses.shape} and {complexities.shape}"
        )
    points = np.column_stack([losses, complexities])
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if not len(finite):
        return finite
    front: npt.NDArray[np.int64] = finite[moocore.is_nondominated(points[finite])]
    return front[np.argsort(points[front, 1], kind="stable")]


@checked_arguments
def best_subset(
    losses: npt.NDArray[np.float64],
    complexities: npt.NDArray[np.float64],
    size: int,
    reference: tuple[float, float],
) -> npt.NDArray[np.int64]:
    """Choose exactly the evaluations that together dominate the largest area.

    With the front by ascending complexity, a choice i < j < ... covers the sum over its members of (complexity of the
    next one, or the reference's, minus its own) * (reference loss minus its own). So the best choice of m points that
    begins with point i follows from the best choices of m - 1 points that begin later.

    Args:
        losses: (n,), minimised.
        complexities: (n,), minimised.
        size: largest number of evaluations to choose.
        reference: loss and complexity below which a point must be to count.

    Returns:
        Positions of at most `size` evaluations, from small to large complexity; fewer if the front has fewer.

    Raises:
        ConfigError: The arrays have different lengths.
    """
    if complexities.ndim != 1:
        raise ConfigError(f"complexities must have the shape (n,), got {complexities.shape}: give one cost")
    front: npt.NDArray[np.int64] = nondominated(losses, complexities)
    front = front[(losses[front] < reference[0]) & (complexities[front] < reference[1])]
    if not len(front):
        return front
    heights, costs = reference[0] - losses[front], complexities[front]
    is_later = costs[None] > costs[:, None]
    areas = np.where(is_later, heights[:, None] * (costs[None] - costs[:, None]), -np.inf)
    best, following = heights * (reference[1] - costs), []
    for _ in range(min(size, len(front)) - 1):
        extended = areas + best[None]
        following.append(np.where(extended.max(axis=1) > best, extended.argmax(axis=1), -1))
        best = np.maximum(best, extended.max(axis=1))
    chosen = [int(best.argmax())]
    for next_one in reversed(following):
        if next_one[chosen[-1]] >= 0:
            chosen.append(int(next_one[chosen[-1]]))
    return front[chosen]


@checked_arguments
def spread_subset(
    points: npt.NDArray[np.float64], size: int, reference: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Choose evaluations that together dominate a large volume, in as many values as there are.

    One after the other, each adds the most; what they dominate is at least 1 - 1/e of the most that is possible, since
    the volume is submodular (Nemhauser, Wolsey and Fisher, 1978). For two values `best_subset` is exact.

    Args:
        points: (n, J + 1), all minimised.
        size: largest number of evaluations to choose.
        reference: (J + 1,) below which a point must be to count.

    Returns:
        Positions of at most `size` evaluations, in the order of the choice; fewer if the front has fewer.

    Raises:
        ConfigError: The arrays do not fit together.
    """
    if points.ndim != 2 or points.shape[1] < 2 or reference.shape != points.shape[1:]:
        raise ConfigError(
            f"points must be (n, J + 1) and reference (J + 1,), J at least 1, got {points.shape} and {reference.shape}"
        )
    front = nondominated(points[:, 0], points[:, 1:])
    front = front[(points[front] < reference).all(axis=1)]
    chosen: list[int] = []
    while len(chosen) < min(size, len(front)):
        left = [place for place in front.tolist() if place not in chosen]
        volumes = [moocore.hypervolume(points[[*chosen, place]], ref=reference) for place in left]
        chosen.append(left[int(np.argmax(volumes))])
    return np.array(chosen, dtype=np.int64)
