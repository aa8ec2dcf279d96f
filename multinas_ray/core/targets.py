"""What each distribution minimises where goals are targets and not coefficients: the loss, held near a target.

Notation: K distributions, N samples. docs/METHOD.md, "Targets instead of coefficients".
"""

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray

TARGET_WEIGHT = 7.0
"""Default weight of the distance from a target. On NAS-Bench-Macro it keeps the modes near their targets; with 2 they
stay a third above. docs/experiments.md, "Targets". [ours]"""
BELOW_SHARE = 0.5
"""The penalty for a complexity below its target, as a share of the penalty for one as far above: a smaller network that
is as good is welcome, and a larger one cannot be used. With 1 the choices were no better, and more modes were above
their targets. [ours]"""
SPREAD_QUANTILES = (0.25, 0.75)


def targeted_losses(
    losses_N: FloatArray, complexities_N: FloatArray, targets: npt.ArrayLike, weight: float
) -> FloatArray:
    """Returns (K, N): what the K distributions minimise; +inf (ranks worst) where the loss is not finite.

    ``L_i / S + weight * max(x, -BELOW_SHARE * x)`` with ``x = R_i / T_k - 1`` and S the interquartile range of the
    samples' finite losses, or their whole range where that is 0. So an update does the same for a L + b, a > 0, as for
    L, and one weight serves any loss. The distance is the absolute reward of TuNAS (Bender et al., CVPR 2020); the
    division by S and the gentler slope below are ours. Unlike a weighted sum with the complexity, it reaches the
    concave parts of a front, and it keeps networks large where a supernet's losses hardly show what size is worth.

    Args:
        losses_N: losses; NaN and both infinities mean a failed evaluation.
        complexities_N: complexities; anything where the loss is not finite.
        targets: (K,) positive T_k, in the unit of the complexities.
        weight: of the distance.
    """
    failed_N = ~np.isfinite(losses_N)
    finite_losses = losses_N[~failed_N]
    spread = _spread(finite_losses)
    excess_KN = np.where(failed_N, 0.0, complexities_N) / np.asarray(targets, dtype=np.float64)[:, None] - 1.0
    distance_KN = np.maximum(excess_KN, -BELOW_SHARE * excess_KN)
    ranked_losses_N = np.where(failed_N, np.inf, losses_N) / spread
    scores_KN: FloatArray = ranked_losses_N + weight * distance_KN
    return scores_KN


def _spread(losses: FloatArray) -> float:
    """A positive scale of finite losses; 1 where they are all equal or their range overflows."""
    if not len(losses):
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        lower, upper = np.quantile(losses, SPREAD_QUANTILES)
        spread = float(upper - lower) or float(np.ptp(losses))
    return spread if 0.0 < spread < np.inf else 1.0
