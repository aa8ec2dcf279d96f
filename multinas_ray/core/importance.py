"""Importance weights: what each sample of the mixture counts for each of the K distributions.

Notation: K distributions, N samples, G groups of samples (each drawn from the mixture of one update).
docs/METHOD.md step 4 and "Sample reuse"; the idea of reuse is from Shirakawa et al., GECCO 2015.
"""

import numpy as np

from multinas_ray.core.arrays import FloatArray, IntArray

LOG_WEIGHT_LIMIT = 300.0
"""Log weights stay within this distance of 0, so that their squares do not overflow; only late samples ever come near.

If the largest log weight of a distribution is above the limit, all its weights are scaled down together. That changes
no step, since G / F, the quantiles and the effective sample size do not depend on the scale. If the largest is below
the negative limit, the samples say nothing about the distribution: its weights are all 0, and it makes no step. [ours]
"""


def importance_weights(log_prob_KN: FloatArray, log_density_N: FloatArray) -> FloatArray:
    """Returns (K, N): r_ki = p_k(a_i) / q(a_i), by METHOD step 4, in log space.

    Args:
        log_prob_KN: log p_k(a_i) under the present distributions.
        log_density_N: log q(a_i) of the density that sample i was drawn with.
    """
    log_weights_KN = log_prob_KN - log_density_N
    largest_K = log_weights_KN.max(axis=1, keepdims=True)
    weights_KN = np.exp(log_weights_KN - np.maximum(largest_K - LOG_WEIGHT_LIMIT, 0.0))
    return np.where(largest_K >= -LOG_WEIGHT_LIMIT, weights_KN, 0.0)


def balance_log_density(log_mixture_GN: FloatArray, counts_G: IntArray) -> FloatArray:
    """Returns (N,): log of sum_g (n_g / n) q_g(a_i), the balance heuristic's density for G groups."""
    highest_N = log_mixture_GN.max(axis=0)
    # Whole counts are summed before the division, so that equal densities give exactly their own value.
    share_N = (counts_G[:, None] * np.exp(log_mixture_GN - highest_N)).sum(axis=0) / counts_G.sum()
    log_density_N: FloatArray = highest_N + np.log(share_N)
    return log_density_N


def effective_sample_sizes(weights_KN: FloatArray) -> FloatArray:
    """Returns (K,): ESS_k = (sum r_k)^2 / sum r_k^2, by METHOD step 9; 0 where every weight underflowed."""
    highest_K = weights_KN.max(axis=1, keepdims=True)
    scaled_KN = weights_KN / np.where(highest_K > 0.0, highest_K, 1.0)
    squares_K = (scaled_KN**2).sum(axis=1)
    sizes_K: FloatArray = scaled_KN.sum(axis=1) ** 2 / np.where(squares_K > 0.0, squares_K, 1.0)
    return sizes_K


def weighted_means(weights_KN: FloatArray, values_N: FloatArray) -> FloatArray:
    """Returns (K,): sum_i r_ki v_i / sum_i r_ki over the finite values; NaN where they carry no weight."""
    finite_N = np.isfinite(values_N)
    weights_KN = weights_KN[:, finite_N]
    highest_K = weights_KN.max(axis=1, keepdims=True, initial=0.0)
    scaled_KN = weights_KN / np.where(highest_K > 0.0, highest_K, 1.0)
    total_K = scaled_KN.sum(axis=1)
    means_K: FloatArray = scaled_KN @ values_N[finite_N] / np.where(total_K > 0.0, total_K, np.nan)
    return means_K
