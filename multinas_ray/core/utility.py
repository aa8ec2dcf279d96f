"""Utilities: the value that a sample has for each distribution, by its rank among the weighted samples.

Notation: K distributions, N samples. docs/METHOD.md step 5, the tie-aware form of IGO (Ollivier et al., JMLR
2017).
"""

import numpy as np

from multinas_ray.core.arrays import FloatArray

BEST_QUANTILE = 0.25
WORST_QUANTILE = 0.75


def scalarised_losses(losses_N: FloatArray, complexities_N: FloatArray, coefficients_K: FloatArray) -> FloatArray:
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
    normalised by the weights' sum [ours]; where that is zero, every utility is 0. Only exactly equal values are ties.
    A sample of zero weight gets the value of s at its place; it does not enter any sum.
    """
    order_KN = scores_KN.argsort(axis=1)
    sorted_scores_KN = np.take_along_axis(scores_KN, order_KN, axis=1)
    sorted_weights_KN = np.take_along_axis(weights_KN, order_KN, axis=1)
    below_KN, upto_KN = _tied_quantiles(sorted_scores_KN, sorted_weights_KN)
    best_KN = np.minimum(upto_KN, BEST_QUANTILE) - np.minimum(below_KN, BEST_QUANTILE)
    worst_KN = np.maximum(upto_KN, WORST_QUANTILE) - np.maximum(below_KN, WORST_QUANTILE)
    width_KN = upto_KN - below_KN
    filled_KN = width_KN > 0.0
    point_KN = np.where(upto_KN <= BEST_QUANTILE, 1.0, np.where(upto_KN >= WORST_QUANTILE, -1.0, 0.0))
    mean_KN = np.where(filled_KN, (best_KN - worst_KN) / np.where(filled_KN, width_KN, 1.0), point_KN)
    has_weight_K = weights_KN.sum(axis=1, keepdims=True) > 0.0
    utilities_KN = np.empty_like(scores_KN)
    np.put_along_axis(utilities_KN, order_KN, np.where(has_weight_K, mean_KN, 0.0), axis=1)
    return utilities_KN


def _tied_quantiles(sorted_scores_KN: FloatArray, sorted_weights_KN: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Returns q^< and q^<= of samples in ascending order, each (K, N), equal within a group of ties."""
    num_samples = sorted_scores_KN.shape[1]
    cumulative_KN = sorted_weights_KN.cumsum(axis=1)
    total_K = cumulative_KN[:, -1:]
    cumulative_KN /= np.where(total_K > 0.0, total_K, 1.0)
    changes_KN = sorted_scores_KN[:, 1:] != sorted_scores_KN[:, :-1]
    # Cumulative weights never decrease: q^< is the largest value so far at a start of ties, and q^<= the least
    # value still to come at an end of ties.
    below_KN = np.zeros_like(cumulative_KN)
    below_KN[:, 1:] = np.where(changes_KN, cumulative_KN[:, :-1], 0.0)
    np.maximum.accumulate(below_KN, axis=1, out=below_KN)
    upto_KN = np.ones_like(cumulative_KN)
    upto_KN[:, : num_samples - 1] = np.where(changes_KN, cumulative_KN[:, :-1], 1.0)
    upto_KN = np.minimum.accumulate(upto_KN[:, ::-1], axis=1)[:, ::-1]
    return below_KN, upto_KN
