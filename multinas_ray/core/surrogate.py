"""A Gaussian process with a fixed family of kernels, that predicts loss and complexity of architectures not evaluated.

Notation: D variables, X = D * C columns of the one-hot code, M points fitted on, N points asked for.
All of it is [ours]; docs/METHOD.md, "How far sample efficiency was pushed".
"""

from dataclasses import dataclass

import numpy as np

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.asng import one_hot

ADDITIVE_SHARE = 0.5
"""Share of the kernel that is additive over the variables; the rest falls off with the Hamming distance."""

LENGTHS = (0.1, 0.25, 0.6)
"""Lengths of that fall, as shares of D; the likeliest is taken at each fit."""

JITTER = 1e-4
"""Added to the kernel's diagonal: the losses are fixed, but the fit must not chase their last digits."""


@dataclass(frozen=True, eq=False)
class Surrogate:
    """What a fit leaves behind. Built by `fit_surrogate`."""

    points_MX: FloatArray
    whitener_MM: FloatArray
    """The inverse of the covariance's Cholesky factor."""
    weights_M2: FloatArray
    offset_2: FloatArray
    scale_2: FloatArray
    length: float
    num_variables: int
    loss_centre: float
    loss_unit: float

    def predict(self, architectures_ND: IntArray, optimism: float = 0.0) -> tuple[FloatArray, FloatArray]:
        """Returns (N,) losses, `optimism` standard deviations below the mean, and (N,) mean complexities."""
        num_columns = self.points_MX.shape[1] // self.num_variables
        covariance_NM = kernel(one_hot(architectures_ND, num_columns), self.points_MX, self.num_variables, self.length)
        mean_N2 = self.offset_2 + self.scale_2 * (covariance_NM @ self.weights_M2)
        warped_N = mean_N2[:, 0]
        if optimism:
            explained_N = ((covariance_NM @ self.whitener_MM.T) ** 2).sum(axis=1)
            warped_N = warped_N - optimism * self.scale_2[0] * np.sqrt(np.maximum(1.0 - explained_N, 0.0))
        losses_N: FloatArray = self.loss_centre + self.loss_unit * np.sinh(np.clip(warped_N, -30.0, 30.0))
        return losses_N, np.maximum(mean_N2[:, 1], 0.0)


def kernel(left_NX: FloatArray, right_MX: FloatArray, num_variables: int, length: float) -> FloatArray:
    """Returns (N, M): a * (share of equal variables) + (1 - a) * exp(-(share of unequal ones) / length)."""
    equal_NM = left_NX @ right_MX.T / num_variables
    falling_NM = np.exp((equal_NM - 1.0) / length)
    covariance_NM: FloatArray = ADDITIVE_SHARE * equal_NM + (1.0 - ADDITIVE_SHARE) * falling_NM
    return covariance_NM


def fit_surrogate(
    architectures_MD: IntArray, losses_M: FloatArray, complexities_M: FloatArray, num_columns: int
) -> Surrogate:
    """Fits losses and complexities at once.

    Losses are fitted as asinh((loss - median) / interquartile range), so that a few very bad ones do not drown
    the differences among good ones. A failed evaluation counts as the worst of the losses, with the mean
    complexity.

    Args:
        architectures_MD: distinct ones, at least one of them with a finite loss.
        losses_M: not finite for a failed evaluation.
        complexities_M: anything for a failed evaluation.
        num_columns: C.
    """
    finite_M = np.isfinite(losses_M)
    low, centre, high = np.quantile(losses_M[finite_M], [0.25, 0.5, 0.75])
    unit = high - low if high > low else max(float(np.ptp(losses_M[finite_M])), 1e-12 * abs(centre), 1e-300)
    warped_M = np.arcsinh((np.where(finite_M, losses_M, losses_M[finite_M].max()) - centre) / unit)
    complexity_M = np.where(finite_M, complexities_M, complexities_M[finite_M].mean())
    values_M2 = np.stack([warped_M, complexity_M], axis=1)
    offset_2, spread_2 = values_M2.mean(axis=0), values_M2.std(axis=0)
    scale_2 = np.where(spread_2 > 0.0, spread_2, 1.0)
    targets_M2 = (values_M2 - offset_2) / scale_2
    num_variables = architectures_MD.shape[1]
    points_MX = one_hot(architectures_MD, num_columns)
    fits = [_factor(points_MX, targets_M2[:, 0], num_variables, length) for length in LENGTHS]
    likeliest = int(np.argmax([likelihood for likelihood, _ in fits]))
    whitener_MM: FloatArray = np.linalg.inv(fits[likeliest][1]).astype(np.float64, copy=False)
    return Surrogate(
        points_MX=points_MX,
        whitener_MM=whitener_MM,
        weights_M2=whitener_MM.T @ (whitener_MM @ targets_M2),
        offset_2=offset_2,
        scale_2=scale_2,
        length=LENGTHS[likeliest],
        num_variables=num_variables,
        loss_centre=float(centre),
        loss_unit=float(unit),
    )


def _factor(
    points_MX: FloatArray, targets_M: FloatArray, num_variables: int, length: float
) -> tuple[float, FloatArray]:
    """Returns the log marginal likelihood, up to a constant, and the Cholesky factor of the covariance."""
    covariance_MM = kernel(points_MX, points_MX, num_variables, length)
    covariance_MM.flat[:: len(covariance_MM) + 1] += JITTER
    factor_MM = np.linalg.cholesky(covariance_MM).astype(np.float64, copy=False)
    residual_M = np.linalg.solve(factor_MM, targets_M)
    return -0.5 * float(residual_M @ residual_M) - float(np.log(np.diag(factor_MM)).sum()), factor_MM
