"""The best evaluated architecture of each distribution's objective.

Notation: K distributions, A evaluated architectures.
"""

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import IntArray
from multinas_ray.core.proposals import column_of, real_numbers
from multinas_ray.core.utility import scalarised_losses
from multinas_ray.errors import ConfigError


def best_evaluated(
    architectures: npt.ArrayLike, losses: npt.ArrayLike, complexities: npt.ArrayLike, coefficients: npt.ArrayLike
) -> IntArray:
    """Finds, for each coefficient, the evaluation with the least loss + eps_k * complexity.

    Weighted sums skip the concave parts of a front. Where the user gave no coefficients, K architectures that are
    spread over the front by hypervolume are a better answer.

    Args:
        architectures: (A, D), a row for each evaluation.
        losses: (A,) minimised; not finite for a failed evaluation.
        complexities: (A,) normalised; anything for a failed evaluation.
        coefficients: (K,) eps_k.

    Returns:
        (K,) row numbers. Of equal sums the least complex architecture is taken, then the first.

    Raises:
        ConfigError: The lengths differ or every evaluation failed.
    """
    losses_A = real_numbers(losses, "losses")
    column_of(losses_A, "losses", len(np.asarray(architectures)))
    complexities_A = column_of(real_numbers(complexities, "complexities"), "complexities", len(losses_A))
    if not np.isfinite(losses_A).any():
        raise ConfigError(
            f"the best evaluation must have a finite loss, but all {len(losses_A)} evaluations failed: evaluate more"
        )
    by_complexity_A = np.argsort(np.where(np.isfinite(losses_A), complexities_A, np.inf), kind="stable")
    scores_KA = scalarised_losses(losses_A, complexities_A, real_numbers(coefficients, "coefficients"))
    rows_K: IntArray = by_complexity_A[scores_KA[:, by_complexity_A].argmin(axis=1)]
    return rows_K
