"""Losses of few images, smoothed by what the blocks of the networks have in common.

Notation: N networks, D positions, C candidate blocks (padded), F features.
"""

import numpy as np

from multinas_ray.spaces import BoolArray, FloatArray, IntArray

PENALTIES = (*10.0 ** np.arange(-3.0, 4.0), np.inf)
"""Ridge penalties, of which the one of least leave-one-out error is taken; the last gives a flat fit. [ours]"""
SPREADS = 3.0
"""Losses more than so many interquartile ranges above the third quartile count as that. [ours]"""


def smoothed_losses(architectures_ND: IntArray, losses_N: FloatArray, skips_DC: BoolArray) -> FloatArray:
    """Fit losses by a sum over the blocks, and give the fit.

    [ours] The loss of a network on one batch has the noise of that batch and of the weights that its blocks happen to
    share. Networks that differ in one block have nearly the same loss, so a ridge regression (Hoerl and Kennard,
    Technometrics 1970) on the blocks of all positions and on the depth averages over those that share blocks. Its
    penalty is chosen by the leave-one-out error, which has a closed form; where blocks explain nothing, the fit is
    flat and ranks nobody.

    Args:
        architectures_ND: (N, D) canonical networks.
        losses_N: (N,) finite losses.
        skips_DC: which blocks are skips, see `spaces.skips`.

    Returns:
        (N,) fitted losses.
    """
    quartiles = np.quantile(losses_N, [0.25, 0.75])
    capped_N = np.minimum(losses_N, quartiles[1] + SPREADS * (quartiles[1] - quartiles[0]))
    centred_N, number = capped_N - capped_N.mean(), len(losses_N)
    features_NF = _features(architectures_ND, skips_DC)
    left_NF, spread_F, _ = np.linalg.svd(features_NF - features_NF.mean(axis=0), full_matrices=False)
    parts_F = left_NF.T @ centred_N
    best, least = centred_N, np.inf
    for penalty in PENALTIES:
        shrinkage_F = spread_F**2 / (spread_F**2 + penalty)
        fitted_N = left_NF @ (shrinkage_F * parts_F)
        leverage_N = (left_NF**2) @ shrinkage_F + 1 / number
        error = float(np.mean(((centred_N - fitted_N) / np.maximum(1 - leverage_N, 1e-9)) ** 2))
        if error < least:
            best, least = fitted_N, error
    fit_N: FloatArray = best + capped_N.mean()
    return fit_N


def _features(architectures_ND: IntArray, skips_DC: BoolArray) -> FloatArray:
    """(N, F) the blocks as one-hot, and the number of those that are no skips."""
    places_D = np.arange(architectures_ND.shape[1])
    one_hot_NF = np.eye(skips_DC.shape[1])[architectures_ND].reshape(len(architectures_ND), -1)
    depth_N = (~skips_DC[places_D, architectures_ND]).sum(axis=1)
    return np.column_stack([one_hot_NF, depth_N])
