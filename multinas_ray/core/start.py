"""The distributions before any update: uniform, or near their targets from the first sample on.

Notation: K distributions, D variables, C categories (padded). docs/METHOD.md, "A start near the targets". [ours]
"""

import numpy as np

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.distributions import CategoryLayout, expected_costs, uniform_probs
from multinas_ray.core.margin import apply_margin

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
    tilted_KDC = weights_KDC / weights_KDC.sum(axis=2, keepdims=True)
    mixed_KDC = UNIFORM_SHARE * uniform_probs(layout, len(tilt_K)) + (1.0 - UNIFORM_SHARE) * tilted_KDC
    return apply_margin(mixed_KDC, floor_D, layout)
