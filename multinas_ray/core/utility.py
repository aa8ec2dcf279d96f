"""Utilities: what a sample's rank among the weighted samples is worth to each distribution.

Notation: K distributions, N samples. docs/METHOD.md step 5, the tie-aware form of IGO (Ollivier et al., JMLR
2017).
"""

import numpy as np

from multinas_ray.core.arrays import FloatArray

BEST_QUANTILE = 0.25
WORST_QUANTILE = 0.75


def scalarised_losses(
    losses_N: FloatArray, complexities_N: FloatArray, coefficients_K: FloatArray
) -> FloatArray:
    """Returns (K, N): f_ki = L_i + eps_k R_i, minimised; +inf (ranks worst) where the loss is not finite.

    Args:
        losses_N: losses; NaN and both infinities mean a failed evaluation.
        complexities_N: normalised complexities; anything where the loss is not finite.
        coefficients_K: eps_k.
    """
    failed_N = ~np.isfinite(losses_N)
    ranked_losses_N = np.where(failed_N, np.inf, losses_N)
    ranked_complexities_N = np.where(failed_N, 0.0, complexities_N)
    with np.errstate(over="ignore"):  # a sum beyond the largest float is as bad as a failure
        return ranked_losses_N + coefficients_K[:, None] * ranked_complexities_N


def quantile_utilities(scores_KN: FloatArray, weights_KN: FloatArray) -> FloatArray:
    """Returns (K, N): u_ki, the mean of s over the weighted quantiles that sample i and its ties fill.

    METHOD step 5: s is +1 up to the first quarter, -1 from the last quarter on, 0 between. Quantiles are
    normalised by the weights' sum [ours]; where that is zero, every utility is 0. Ties are exact equality. A
    sample of zero weight gets the value of s at its place, which no sum will count.
    """
    below_KN, upto_KN = _weighted_quantiles(scores_KN, weights_KN)
    best_KN = np.minimum(upto_KN, BEST_QUANTILE) - np.minimum(below_KN, BEST_QUANTILE)
    worst_KN = np.maximum(upto_KN, WORST_QUANTILE) - np.maximum(below_KN, WORST_QUANTILE)
    width_KN = upto_KN - below_KN
    point_KN = np.where(upto_KN <= BEST_QUANTILE, 1.0, np.where(upto_KN >= WORST_QUANTILE, -1.0, 0.0))
    filled_KN = width_KN > 0.0
    utilities_KN = np.where(filled_KN, (best_KN - worst_KN) / np.where(filled_KN, width_KN, 1.0), point_KN)
    has_weight_K = weights_KN.sum(axis=1, keepdims=True) > 0.0
    return np.where(has_weight_K, utilities_KN, 0.0)


def _weighted_quantiles(scores_KN: FloatArray, weights_KN: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns q^<_ki and q^<=_ki, each (K, N): the share of weight strictly better, and at least as good."""
    num_samples = scores_KN.shape[1]
    order_KN = scores_KN.argsort(axis=1)
    sorted_KN = np.take_along_axis(scores_KN, order_KN, axis=1)
    cumulative_KN = np.zeros((len(scores_KN), num_samples + 1))
    np.cumsum(np.take_along_axis(weights_KN, order_KN, axis=1), axis=1, out=cumulative_KN[:, 1:])
    total_K = cumulative_KN[:, -1:]
    cumulative_KN /= np.where(total_K > 0.0, total_K, 1.0)

    # Positions at which a group of ties starts, and one past its end, spread over the group.
    changes_KN = sorted_KN[:, 1:] != sorted_KN[:, :-1]
    position_N = np.arange(num_samples)
    start_KN = np.zeros_like(order_KN)
    start_KN[:, 1:] = np.where(changes_KN, position_N[1:], 0)
    np.maximum.accumulate(start_KN, axis=1, out=start_KN)
    end_KN = np.full_like(order_KN, num_samples)
    end_KN[:, :-1] = np.where(changes_KN, position_N[1:], num_samples)
    end_KN = np.minimum.accumulate(end_KN[:, ::-1], axis=1)[:, ::-1]

    below_KN, upto_KN = np.empty_like(scores_KN), np.empty_like(scores_KN)
    np.put_along_axis(below_KN, order_KN, np.take_along_axis(cumulative_KN, start_KN, axis=1), axis=1)
    np.put_along_axis(upto_KN, order_KN, np.take_along_axis(cumulative_KN, end_KN, axis=1), axis=1)
    return below_KN, upto_KN
