"""The distributions before any update: uniform, near their targets, or near what a prior finds promising.

Notation: K distributions, D variables, C categories (padded). docs/METHOD.md, "A start near the targets" and "A start
from the prior". [ours]
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.distributions import expected_costs, uniform_probs
from multinas_ray.core.layout import INACTIVE, CategoryLayout
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
    entropy (Jaynes, 1957), so it assumes nothing but the target. Prior weights are factors of tilted_k, and so is,
    for a value that makes other variables active, the prior mean of exp(-lambda_k cost) over these.

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
        costs_K = expected_costs(_mixed(layout, middle_K, costs_DC, floor_D), costs_DC, base_cost, layout)
        is_dear_K = costs_K > np.array(targets)
        low_K, high_K = np.where(is_dear_K, middle_K, low_K), np.where(is_dear_K, high_K, middle_K)
    return _mixed(layout, high_K, costs_DC, floor_D)


def _mixed(layout: CategoryLayout, tilt_K: FloatArray, costs_DC: FloatArray, floor_D: FloatArray) -> FloatArray:
    log_prior_DC = np.log(np.where(layout.valid_DC, layout.prior_DC, 1.0))
    logits_KDC = np.where(layout.valid_DC, log_prior_DC - tilt_K[:, None, None] * costs_DC, -np.inf)
    for d in reversed(layout.conditional):
        parent, value = layout.conditions[d] or (0, 0)
        highest_K = logits_KDC[:, d].max(axis=1)
        means_K = np.exp(logits_KDC[:, d] - highest_K[:, None]).sum(axis=1) / layout.prior_DC[d].sum()
        logits_KDC[:, parent, value] += highest_K + np.log(means_K)
    weights_KDC = np.exp(logits_KDC - logits_KDC.max(axis=2, keepdims=True))
    return _mixed_with_uniform(layout, weights_KDC / weights_KDC.sum(axis=2, keepdims=True), floor_D)


def start_near(layout: CategoryLayout, promising: Sequence[Sequence[Sequence[int]]], floor_D: FloatArray) -> FloatArray:
    """Returns (K, D, C) theta_k[d] = u / C_d + (1 - u) * frequencies_k[d] with u = UNIFORM_SHARE, within the margin.

    The prior takes the place of 1 / C_d where it has weights.

    Args:
        layout: the variables' categories.
        promising: of each distribution the architectures in which the categories are counted; where there are none,
            all categories are alike.
        floor_D: theta_min of each variable, which is respected.
    """
    frequencies_KDC = uniform_probs(layout, len(promising))
    for k, rows in enumerate(promising):
        if rows:
            rows_FDC = layout.categories_of(np.array(rows))[:, :, None]
            is_of_FDC = rows_FDC == np.arange(layout.valid_DC.shape[1])
            active_FD1 = rows_FDC != INACTIVE
            times_D1 = active_FD1.sum(axis=0)
            frequencies_KDC[k] = np.where(times_D1, is_of_FDC.sum(axis=0) / np.maximum(times_D1, 1), frequencies_KDC[k])
    return _mixed_with_uniform(layout, frequencies_KDC, floor_D)


def checked_architectures(
    given: Sequence[npt.ArrayLike], layout: CategoryLayout, num_distributions: int
) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Returns the architectures of each distribution as plain whole numbers.

    Raises:
        ConfigError: They are not one list for each distribution, or not of the space.
    """
    if len(given) != num_distributions:
        raise ConfigError(
            f"start_architectures must be a list for each of the {num_distributions} distributions, got {len(given)}"
        )
    num_variables, checked = len(layout.last_D), []
    for k, each in enumerate(given):
        try:
            rows_FD = np.array(each, dtype=np.float64).reshape(-1, num_variables)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"start_architectures[{k}] must be rows of {num_variables} numbers ({error})") from error
        if (rows_FD % 1 != 0).any() or layout.outside(rows_FD.astype(np.int64)).any():
            raise ConfigError(
                f"start_architectures[{k}] must be architectures of the space, some have other categories"
            )
        checked.append(tuple(tuple(row) for row in rows_FD.astype(np.int64).tolist()))
    return tuple(checked)


def _mixed_with_uniform(layout: CategoryLayout, probs_KDC: FloatArray, floor_D: FloatArray) -> FloatArray:
    mixed_KDC = UNIFORM_SHARE * uniform_probs(layout, len(probs_KDC)) + (1.0 - UNIFORM_SHARE) * probs_KDC
    return apply_margin(mixed_KDC, floor_D, layout)
