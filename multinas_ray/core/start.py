"""The distributions before any update: uniform, near their targets, or near what a prior finds promising.

Notation: K distributions, D variables, C categories (padded). docs/METHOD.md, "A start near the targets" and "A start
from the prior". [ours]
"""

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.distributions import CategoryLayout, expected_costs, uniform_probs
from multinas_ray.core.margin import apply_margin
from multinas_ray.errors import ConfigError

UNIFORM_SHARE = 0.2
"""What every category keeps of its uniform probability, so that each choice is still drawn everywhere. [ours]"""
STEEPEST = 1e4
"""Largest tilt, per range of the costs: the cheapest or the dearest category then has all that is not uniform."""
HALVINGS = 100


def start_near_targets(
    layout: CategoryLayout, targets: tuple[float, ...], costs_DC: FloatArray, base_cost: float, floor_D: FloatArray
) -> FloatArray:
    """Returns (K, D, C) probabilities whose expected complexities are the targets, or as near as the space allows.

    theta_k[d] = u / C_d + (1 - u) * tilted_k[d] with u = UNIFORM_SHARE and tilted_k[d, c] proportional to
    exp(-lambda_k cost[d, c]). Of all distributions with one expected complexity the tilted one has the largest
    entropy (Jaynes, 1957), so it assumes nothing but the target.

    Args:
        layout: the variables' categories.
        targets: (K,) complexities.
        costs_DC: the table of the additive complexity.
        base_cost: its constant part.
        floor_D: theta_min of each variable, which is respected.
    """
    spread = float(np.ptp(costs_DC[layout.valid_DC])) or 1.0
    low_K, high_K = np.full(len(targets), -STEEPEST / spread), np.full(len(targets), STEEPEST / spread)
    for _ in range(HALVINGS):  # a steeper tilt costs less
        middle_K = (low_K + high_K) / 2.0
        costs_K = expected_costs(_mixed(layout, middle_K, costs_DC, floor_D), costs_DC, base_cost)
        is_dear_K = costs_K > np.array(targets)
        low_K, high_K = np.where(is_dear_K, middle_K, low_K), np.where(is_dear_K, high_K, middle_K)
    return _mixed(layout, high_K, costs_DC, floor_D)


def _mixed(layout: CategoryLayout, tilt_K: FloatArray, costs_DC: FloatArray, floor_D: FloatArray) -> FloatArray:
    logits_KDC = np.where(layout.valid_DC, -tilt_K[:, None, None] * costs_DC, -np.inf)
    weights_KDC = np.exp(logits_KDC - logits_KDC.max(axis=2, keepdims=True))
    return start_from(layout, weights_KDC / weights_KDC.sum(axis=2, keepdims=True), floor_D)


def start_from(layout: CategoryLayout, frequencies_KDC: FloatArray, floor_D: FloatArray) -> FloatArray:
    """Returns (K, D, C) theta_k[d] = u / C_d + (1 - u) * frequencies_k[d] with u = UNIFORM_SHARE, within the margin.

    Args:
        layout: the variables' categories.
        frequencies_KDC: they sum to 1 for each variable.
        floor_D: theta_min of each variable, which is respected.
    """
    uniform_KDC = uniform_probs(layout, len(frequencies_KDC))
    mixed_KDC = UNIFORM_SHARE * uniform_KDC + (1.0 - UNIFORM_SHARE) * frequencies_KDC
    return apply_margin(mixed_KDC, floor_D, layout)


def checked_frequencies(
    given: npt.ArrayLike, layout: CategoryLayout, num_distributions: int
) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """Returns (K, D, C) frequencies as plain numbers, zero in the padding.

    Raises:
        ConfigError: They have another shape, are negative or not finite, or do not sum to 1 for each variable.
    """
    shape = (num_distributions, *layout.valid_DC.shape)
    try:
        given_KDC = np.array(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"start_frequencies must be numbers in rows of equal length, of shape {shape} ({error})"
        ) from error
    if given_KDC.shape != shape:
        raise ConfigError(f"start_frequencies must have shape (K, D, C) = {shape}, got {given_KDC.shape}")
    is_share_KDC = np.where(layout.valid_DC, given_KDC >= 0.0, given_KDC == 0.0)
    if not (is_share_KDC.all() and np.allclose(given_KDC.sum(axis=2), 1.0, rtol=0.0, atol=1e-6)):
        raise ConfigError(
            "start_frequencies must be at least 0, sum to 1 over the categories of each variable, and be 0 beyond them"
        )
    return tuple(tuple(tuple(row) for row in each) for each in given_KDC.tolist())
