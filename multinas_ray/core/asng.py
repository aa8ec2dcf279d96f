"""The natural gradient and the ASNG step, for K distributions at once, each with its own step-size state.

Notation: K distributions, D variables, C categories (padded), N samples.
docs/METHOD.md steps 6 to 8; Akimoto et al., ICML 2019. Names: `step_size` is delta, `step_divisor` is Delta,
`path` is s, `path_weight` is gamma, `norm` is F.
"""

from dataclasses import dataclass

import numpy as np

from multinas_ray.core.arrays import BoolArray, FloatArray, IntArray
from multinas_ray.core.layout import INACTIVE, CategoryLayout
from multinas_ray.core.margin import apply_margin

LARGEST_BETA = 1.5
"""The published rule has no bound. With few parameters, when a steady direction follows a quiet phase, beta
can pass 2, where sqrt(beta (2 - beta)) does not exist; ordinary runs stay near 1 and never meet this.
[ours]"""

NOISE = 1e-12
"""A gradient whose norm is below this share of the largest sum of its terms is taken for a rounding error, and no
step is made. [ours]"""


@dataclass(frozen=True, eq=False)
class ASNGState:
    """Probabilities and step-size state of K distributions; never changed in place."""

    probs_KDC: FloatArray
    """theta, zero in the padding."""
    path_KDC: FloatArray
    """s, zero at each variable's last category and in the padding."""
    path_weight_K: FloatArray
    """gamma."""
    step_divisor_K: FloatArray
    """Delta."""


@dataclass(frozen=True, eq=False)
class ASNGSettings:
    """Constants of the step."""

    delta_init: float
    alpha: float
    delta_max: float
    floor_D: FloatArray
    """theta_min of each variable at the start (see margin.py)."""
    layout: CategoryLayout
    """The present categories; splits of cells change them."""

    @property
    def root_dimension(self) -> float:
        """sqrt(n), n = sum_d (C_d - 1); 1 where every variable is fixed."""
        return float(np.sqrt(max(self.layout.num_free_parameters, 1)))

    @property
    def least_divisor(self) -> float:
        """Delta is kept at or above this, so that beta stays at or below LARGEST_BETA [ours]."""
        return self.delta_init / (LARGEST_BETA * self.root_dimension)


def initial_state(settings: ASNGSettings, probs_KDC: FloatArray) -> ASNGState:
    """Returns the start at these probabilities: s = 0, gamma = 0, Delta = 1  # METHOD step 7."""
    num_distributions = len(probs_KDC)
    return ASNGState(
        probs_KDC=probs_KDC,
        path_KDC=np.zeros_like(probs_KDC),
        path_weight_K=np.zeros(num_distributions),
        step_divisor_K=np.full(num_distributions, max(1.0, settings.least_divisor)),
    )


def one_hot(architectures_ND: IntArray, num_columns: int) -> FloatArray:
    """Returns (N, D * C): onehot(a_i) with the variables side by side; zeros for one that is not active."""
    num_samples, num_variables = architectures_ND.shape
    flat = np.zeros(num_samples * num_variables * num_columns)
    first_ND = num_columns * np.arange(num_samples * num_variables).reshape(num_samples, num_variables)
    active_ND = architectures_ND != INACTIVE
    flat[(first_ND + architectures_ND)[active_ND] if not active_ND.all() else first_ND + architectures_ND] = 1.0
    return flat.reshape(num_samples, num_variables * num_columns)


def natural_gradient(
    weights_KN: FloatArray,
    utilities_KN: FloatArray,
    architectures_ND: IntArray,
    state: ASNGState,
    layout: CategoryLayout,
) -> tuple[FloatArray, BoolArray]:
    """Estimates each distribution's natural gradient in expectation parameters.

    A sample in which a variable is not active says nothing about it, and moves it nowhere: that is the expectation over
    the values that the variable would have had. [ours]

    Args:
        weights_KN: importance weights r_ki.
        utilities_KN: utilities u_ki (larger is better).
        architectures_ND: the samples.
        state: gives theta.
        layout: the variables' categories.

    Returns:
        G, (K, D, C), zero at fixed variables and in the padding  # METHOD step 6
        and (K,) whether G is more than a rounding error.
    """
    probs_KDC = state.probs_KDC
    signal_KN = weights_KN * utilities_KN / weights_KN.shape[1]
    product_KM = signal_KN @ one_hot(layout.categories_of(architectures_ND), probs_KDC.shape[2])
    total_KD = signal_KN.sum(axis=1)[:, None]
    if layout.conditional:
        total_KD = signal_KN @ (architectures_ND != INACTIVE)
    gradient_KDC = product_KM.reshape(probs_KDC.shape) - total_KD[:, :, None] * probs_KDC
    gradient_KDC = np.where(layout.free_D[:, None], gradient_KDC, 0.0)
    inverse_sum_K = (layout.valid_DC / _divisors(probs_KDC)).sum(axis=(1, 2))
    largest_K = np.abs(signal_KN).sum(axis=1) * np.sqrt(inverse_sum_K)
    return gradient_KDC, fisher_norms(gradient_KDC, probs_KDC) > NOISE * largest_K


def fisher_norms(gradient_KDC: FloatArray, probs_KDC: FloatArray) -> FloatArray:
    """Returns (K,): F = sqrt(sum G^2 / theta) over all categories  # METHOD step 7."""
    norms_K: FloatArray = np.sqrt((gradient_KDC**2 / _divisors(probs_KDC)).sum(axis=(1, 2)))
    return norms_K


def whitened(gradient_KDC: FloatArray, probs_KDC: FloatArray, layout: CategoryLayout) -> FloatArray:
    """Returns (K, D, C): s', G in coordinates whitened by the Fisher square root; zero at each last category.

    METHOD step 7. Its squares sum to F^2.
    """
    inner_KDC = np.where(layout.inner_DC, gradient_KDC, 0.0)
    last_KD1 = np.take_along_axis(probs_KDC, layout.last_D[None, :, None], axis=2)
    ratio_KD1 = inner_KDC.sum(axis=2, keepdims=True) / (last_KD1 + np.sqrt(last_KD1))
    root_KDC = np.sqrt(_divisors(probs_KDC))
    return np.where(layout.inner_DC, inner_KDC / root_KDC + root_KDC * ratio_KD1, 0.0)


def unwhitened(whitened_KDC: FloatArray, probs_KDC: FloatArray, layout: CategoryLayout) -> FloatArray:
    """Returns (K, D, C): the tangent vectors whose `whitened` coordinates are given; each variable's sums to 0."""
    root_KDC = np.sqrt(_divisors(probs_KDC))
    last_KD1 = np.take_along_axis(probs_KDC, layout.last_D[None, :, None], axis=2)
    share_KD1 = (root_KDC * whitened_KDC).sum(axis=2, keepdims=True) / (1.0 + np.sqrt(last_KD1))
    inner_KDC = np.where(layout.inner_DC, root_KDC * (whitened_KDC - root_KDC * share_KD1), 0.0)
    tangent_KDC = inner_KDC.copy()
    np.put_along_axis(tangent_KDC, layout.last_D[None, :, None], -inner_KDC.sum(axis=2, keepdims=True), axis=2)
    return tangent_KDC


def asng_step(state: ASNGState, gradient_KDC: FloatArray, moves_K: BoolArray, settings: ASNGSettings) -> ASNGState:
    """Returns the state after one step of every distribution in `moves_K`; the others keep theirs exactly.

    METHOD steps 7 and 8. A distribution whose F is zero or not finite does not move either.
    """
    norm_K = fisher_norms(gradient_KDC, state.probs_KDC)
    moves_K = moves_K & np.isfinite(norm_K) & (norm_K > 0.0)
    norm_K11 = np.where(moves_K, norm_K, 1.0)[:, None, None]
    gradient_KDC = np.where(moves_K[:, None, None], gradient_KDC, 0.0)
    step_size_K = settings.delta_init / state.step_divisor_K
    beta_K = step_size_K / settings.root_dimension
    moved_KDC = state.probs_KDC + step_size_K[:, None, None] * gradient_KDC / norm_K11

    direction_KDC = whitened(gradient_KDC, state.probs_KDC, settings.layout) / norm_K11
    fresh_K = beta_K * (2.0 - beta_K)
    path_KDC = (1.0 - beta_K)[:, None, None] * state.path_KDC + np.sqrt(fresh_K)[:, None, None] * direction_KDC
    path_weight_K = (1.0 - beta_K) ** 2 * state.path_weight_K + fresh_K
    growth_K = beta_K * (path_weight_K - (path_KDC**2).sum(axis=(1, 2)) / settings.alpha)
    divisor_K = np.minimum(settings.delta_max, state.step_divisor_K * np.exp(growth_K))
    divisor_K = np.maximum(divisor_K, settings.least_divisor)

    moves_K11 = moves_K[:, None, None]
    return ASNGState(
        probs_KDC=np.where(moves_K11, apply_margin(moved_KDC, settings.floor_D, settings.layout), state.probs_KDC),
        path_KDC=np.where(moves_K11, path_KDC, state.path_KDC),
        path_weight_K=np.where(moves_K, path_weight_K, state.path_weight_K),
        step_divisor_K=np.where(moves_K, divisor_K, state.step_divisor_K),
    )


def _divisors(probs_KDC: FloatArray) -> FloatArray:
    """Returns theta with 1 in the padding, where only zeros are divided."""
    return np.where(probs_KDC > 0.0, probs_KDC, 1.0)
