"""A Gaussian process with a fixed set of kernels that predicts loss and complexity of architectures not yet evaluated.

Notation: D variables, O of them ordered, X columns of the one-hot code of the others, M points fitted on, N points to
predict. Two values of an ordered variable are as equal as they are near: 1 - |difference| / (number of values).
All of it is [ours]; docs/METHOD.md, "The screened search".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray, IntArray
from multinas_ray.core.asng import one_hot
from multinas_ray.core.layout import INACTIVE

ADDITIVE_SHARE = 0.5
"""Share of the kernel that is additive over the variables; the rest falls off with the Hamming distance."""


class Kernel(NamedTuple):
    """A covariance: a * (share of equal variables) + (1 - a) * exp(-(share of unequal ones) / length).

    a is ADDITIVE_SHARE. The values have mean 0 and variance 1.
    """

    length: float
    """Length scale, as a share of D."""
    noise: float
    """Variance that is added on the diagonal: what no neighbour can predict, such as chance in a training. Without it a
    fit to trained networks must take short lengths, and no longer sees what distant architectures have in common."""

    def __call__(self, equal_NM: IntArray | FloatArray, num_variables: int) -> FloatArray:
        """Returns (N, M): the covariance without noise, from the numbers of equal variables out of D."""
        if equal_NM.dtype.kind == "f":
            share_NM = equal_NM / num_variables
            far_NM = np.exp((share_NM - 1.0) / self.length)
            mixed_NM: FloatArray = ADDITIVE_SHARE * share_NM + (1.0 - ADDITIVE_SHARE) * far_NM
            return mixed_NM
        share_E = np.arange(num_variables + 1) / num_variables
        covariance_E = ADDITIVE_SHARE * share_E + (1.0 - ADDITIVE_SHARE) * np.exp((share_E - 1.0) / self.length)
        covariance_NM: FloatArray = covariance_E.take(equal_NM.astype(np.int64, copy=False))
        return covariance_NM

    def of_points(self, equal_MM: IntArray | FloatArray, num_variables: int) -> FloatArray:
        """Returns (M, M): the covariance with noise of the points fitted on."""
        covariance_MM = self(equal_MM, num_variables)
        covariance_MM.flat[:: len(covariance_MM) + 1] += self.noise
        return covariance_MM


KERNELS = tuple(Kernel(length, noise) for noise in (1e-4, 1e-2) for length in (0.1, 0.25, 0.6))
"""A fit takes the likeliest of these."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """A surrogate's predictions for N architectures."""

    warped_N: FloatArray
    """Mean losses on the scale on which they are fitted."""
    deviations_N: FloatArray
    """Standard deviations of these; zeros if they were not requested."""
    complexities_N: FloatArray
    loss_centre: float
    loss_unit: float

    def __len__(self) -> int:
        return len(self.warped_N)

    def __getitem__(self, rows: slice) -> "Prediction":
        columns = {name: column[rows] for name, column in vars(self).items() if name.endswith("_N")}
        return replace(self, **columns)

    def losses(self, optimism: float = 0.0) -> FloatArray:
        """Returns (N,) losses, `optimism` standard deviations below the mean."""
        warped_N = np.clip(self.warped_N - optimism * self.deviations_N, -30.0, 30.0)
        losses_N: FloatArray = self.loss_centre + self.loss_unit * np.sinh(warped_N)
        return losses_N


@dataclass(frozen=True, eq=False)
class Surrogate:
    """A fitted Gaussian process. It is built by `fit_surrogate`."""

    points: "_Points"
    precision_MM: FloatArray
    """The inverse of the covariance."""
    weights_M2: FloatArray
    offset_2: FloatArray
    scale_2: FloatArray
    kernel: Kernel
    num_variables: int
    loss_centre: float
    loss_unit: float

    def predict(self, architectures_ND: IntArray, *, with_deviations: bool = False) -> Prediction:
        """Returns predictions for (N, D) architectures; deviations take far longer than means."""
        asked = _Points.of(architectures_ND, self.points.num_columns, self.points.ordered)
        covariance_NM = self.kernel(asked.num_equal(self.points), self.num_variables)
        mean_N2 = self.offset_2 + self.scale_2 * (covariance_NM @ self.weights_M2)
        deviations_N = np.zeros(len(architectures_ND))
        if with_deviations:
            explained_N = np.einsum("nm,nm->n", covariance_NM @ self.precision_MM, covariance_NM)
            deviations_N = self.scale_2[0] * np.sqrt(np.maximum(1.0 - explained_N, 0.0))
        complexities_N = np.maximum(mean_N2[:, 1], 0.0)
        return Prediction(mean_N2[:, 0], deviations_N, complexities_N, self.loss_centre, self.loss_unit)


def fit_surrogate(
    architectures_MD: IntArray,
    losses_M: FloatArray,
    complexities_M: FloatArray,
    num_columns: int,
    kernels: Sequence[Kernel] = KERNELS,
    ordered: Mapping[int, int] | None = None,
) -> Surrogate:
    """Fits losses and complexities at once.

    Losses are fitted as asinh((loss - median) / interquartile range), so that a few very bad ones do not hide
    the differences among good ones. A failed evaluation counts as the worst of the losses, with the mean
    complexity.

    Args:
        architectures_MD: distinct architectures, at least one of them with a finite loss.
        losses_M: not finite for a failed evaluation.
        complexities_M: anything for a failed evaluation.
        num_columns: C.
        kernels: the likeliest of these is taken; with a single one the fit is faster.
        ordered: number of values of each variable that is ordered.
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
    points = _Points.of(architectures_MD, num_columns, ordered or {})
    equal_MM = points.num_equal(points)
    kernel = kernels[0]
    if len(kernels) > 1:
        kernel = max(kernels, key=lambda each: _likelihood(each.of_points(equal_MM, num_variables), targets_M2[:, 0]))
    precision_MM = np.linalg.inv(kernel.of_points(equal_MM, num_variables)).astype(np.float64, copy=False)
    return Surrogate(
        points=points,
        precision_MM=precision_MM,
        weights_M2=precision_MM @ targets_M2,
        offset_2=offset_2,
        scale_2=scale_2,
        kernel=kernel,
        num_variables=num_variables,
        loss_centre=float(centre),
        loss_unit=float(unit),
    )


@dataclass(frozen=True, eq=False)
class _Points:
    """N architectures in the form in which they are compared."""

    one_hot_NX: npt.NDArray[np.float32]
    """Codes of the categorical variables, with a column for inactive ones; in float32, since their products are exact
    all the same."""
    places_NO: npt.NDArray[np.float32]
    """Values of the ordered variables from 0 to 1; -1 for inactive ones."""
    num_columns: int
    """C."""
    ordered: Mapping[int, int]

    @classmethod
    def of(cls, architectures_ND: IntArray, num_columns: int, ordered: Mapping[int, int]) -> "_Points":
        """Returns the codes of architectures."""
        values_NO = architectures_ND[:, list(ordered)]
        places_NO = np.where(values_NO == INACTIVE, -1.0, values_NO / np.array([*ordered.values()], dtype=np.float64))
        categories_ND = np.delete(architectures_ND, list(ordered), axis=1)
        inactive_ND = categories_ND == INACTIVE
        one_hot_NX = np.concatenate([one_hot(categories_ND, num_columns), inactive_ND], axis=1)
        return cls(one_hot_NX.astype(np.float32), places_NO.astype(np.float32), num_columns, ordered)

    def num_equal(self, others: "_Points") -> IntArray | FloatArray:
        """Returns (N, M): the number of equal variables of each pair of points."""
        same_NM = self.one_hot_NX @ others.one_hot_NX.T
        if not self.ordered:
            equal_NM: IntArray = same_NM.astype(np.int64)
            return equal_NM
        for place_N, place_M in zip(self.places_NO.T, others.places_NO.T, strict=True):
            same_NM += np.maximum(1.0 - np.abs(place_N[:, None] - place_M), 0.0)
        return same_NM.astype(np.float64)


def _likelihood(covariance_MM: FloatArray, targets_M: FloatArray) -> float:
    """Returns the log marginal likelihood, up to a constant."""
    factor_MM = np.linalg.cholesky(covariance_MM)
    residual_M = np.linalg.solve(factor_MM, targets_M)
    return -0.5 * float(residual_M @ residual_M) - float(np.log(np.diag(factor_MM)).sum())
