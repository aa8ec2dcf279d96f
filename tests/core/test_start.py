"""The start near the targets, checked exactly by enumerating a small space."""

import itertools
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from multinas_ray.core import MultiDistributionOptimizer
from multinas_ray.core.distributions import log_mixture, log_prob, uniform_probs
from multinas_ray.core.importance import importance_weights
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.margin import margin_floors
from multinas_ray.core.start import UNIFORM_SHARE, start_near_targets

CATEGORIES = (3, 1, 2, 4)
LAYOUT = CategoryLayout.from_num_categories(CATEGORIES)
SPACE_ND = np.array(list(itertools.product(*(range(count) for count in CATEGORIES))))
COSTS_DC = np.where(LAYOUT.valid_DC, np.random.default_rng(3).random((4, 4)) / 4, 0.0)
BASE = 0.05
COSTS_N = BASE + COSTS_DC[np.arange(4), SPACE_ND].sum(axis=1)
TARGETS = tuple(np.quantile(COSTS_N, (0.2, 0.5, 0.8)).tolist())
NO_FLOOR_D = np.where(LAYOUT.free_D, 1e-9, 1.0)


def new_optimizer(**changes):
    settings = {
        "num_categories": CATEGORIES,
        "targets": TARGETS,
        "cost_table": COSTS_DC,
        "base_cost": BASE,
        "start": "targets",
        "margin_scale": 0.2,
        "seed": 0,
    }
    return MultiDistributionOptimizer(**{**settings, **changes})


def test_each_distribution_expects_its_target():
    probability_KN = np.exp(log_prob(new_optimizer().probs, SPACE_ND))
    np.testing.assert_allclose(probability_KN.sum(axis=1), 1.0)
    np.testing.assert_allclose(probability_KN @ COSTS_N, TARGETS, rtol=1e-12)


def test_a_fifth_is_uniform_and_the_rest_is_tilted_alike_at_all_variables():
    probs_KDC = start_near_targets(LAYOUT, TARGETS, COSTS_DC, BASE, NO_FLOOR_D)
    for probs_DC in probs_KDC:
        slopes = []
        for d, count in enumerate(CATEGORIES):
            tilted_C = (probs_DC[d, :count] - UNIFORM_SHARE / count) / (1.0 - UNIFORM_SHARE)
            np.testing.assert_allclose(tilted_C.sum(), 1.0)
            slopes += (np.diff(np.log(tilted_C)) / np.diff(COSTS_DC[d, :count])).tolist()
        np.testing.assert_allclose(slopes, slopes[0], rtol=1e-6)


@pytest.mark.parametrize(("target", "extreme"), [(COSTS_N.min() / 2, np.argmin), (2 * COSTS_N.max(), np.argmax)])
def test_a_target_out_of_reach_is_approached_within_the_margin(target, extreme):
    floor_D = margin_floors(LAYOUT, 0.4)
    (probs_DC,) = start_near_targets(LAYOUT, (target,), COSTS_DC, BASE, floor_D)
    for d, count in enumerate(CATEGORIES):
        assert probs_DC[d].argmax() == extreme(COSTS_DC[d, :count])
        assert (probs_DC[d, :count] >= floor_D[d] * (1.0 - 1e-12)).all()


def test_frequencies_of_promising_ones_are_mixed_with_a_fifth_of_uniform_and_keep_the_margin():
    promising = [[[1, 0, 0, 3], [2, 0, 0, 3], [1, 0, 1, 3], [2, 0, 0, 3]], []]
    changes = {"start": "prior", "start_architectures": promising, "targets": TARGETS[:2], "cost_table": None}
    first_DC, uniform_DC = new_optimizer(margin_scale=1e-6, **changes).probs
    np.testing.assert_allclose(first_DC[0, :3], [0.2 / 3, 0.4 + 0.2 / 3, 0.4 + 0.2 / 3], atol=1e-5)
    np.testing.assert_allclose(first_DC[1, :2], [1, 0])
    np.testing.assert_allclose(first_DC[2, :2], [0.1 + 0.6, 0.1 + 0.2], atol=1e-5)
    np.testing.assert_allclose(first_DC[3], [0.05, 0.05, 0.05, 0.85], atol=1e-5)
    np.testing.assert_allclose(uniform_DC, LAYOUT.valid_DC / LAYOUT.valid_DC.sum(axis=1, keepdims=True))
    floor_D = margin_floors(LAYOUT, 1.0)
    bound_KDC = new_optimizer(margin_scale=1.0, **changes).probs
    assert (bound_KDC >= np.where(LAYOUT.valid_DC, floor_D[:, None], 0.0) * (1 - 1e-12)).all()


def test_equal_costs_start_uniform():
    layout = CategoryLayout.from_num_categories((2, 2))
    probs_KDC = start_near_targets(layout, (0.3, 3.0), np.ones((2, 2)), 0.0, np.array([0.1, 0.1]))
    np.testing.assert_allclose(probs_KDC, 0.5)


def test_samples_of_the_start_keep_exact_weights():
    optimizer = new_optimizer()
    asked = optimizer.ask(12)
    log_prob_KN = log_prob(optimizer.probs, SPACE_ND)
    log_q_N = log_mixture(log_prob_KN)
    rows = [SPACE_ND.tolist().index(each) for each in asked.architectures.tolist()]
    np.testing.assert_array_equal(asked.log_q, log_q_N[rows])
    weights_KN = importance_weights(log_prob_KN, log_q_N)
    np.testing.assert_allclose(weights_KN @ np.exp(log_q_N), 1.0)  # E_q[r_k] = 1
    np.testing.assert_allclose(weights_KN.mean(axis=0), 1.0)


def test_draws_of_the_start_have_its_law():
    """Chi-square of 30,000 draws against the mixture, seed 0, level 1e-3."""
    optimizer = new_optimizer()
    expected_N = 30_000 * np.exp(log_mixture(log_prob(optimizer.probs, SPACE_ND)))
    rows = np.ravel_multi_index(tuple(optimizer.sample(30_000).T), CATEGORIES)
    found_N = np.bincount(rows, minlength=len(SPACE_ND))
    assert chisquare(found_N, expected_N).pvalue > 1e-3
    uniform_N = np.full(len(SPACE_ND), 30_000 / len(SPACE_ND))
    assert chisquare(found_N, uniform_N).pvalue < 1e-12


def test_a_saved_start_goes_on_bit_for_bit():
    optimizer, other = new_optimizer(memory=2), new_optimizer(memory=2, seed=1)
    other.load_state_dict(optimizer.state_dict())
    for _ in range(3):
        asked, again = optimizer.ask(), other.ask()
        np.testing.assert_array_equal(asked.architectures, again.architectures)
        losses = np.sin(asked.architectures @ [1.0, 2.0, 3.0, 4.0])
        for each in (optimizer, other):
            each.tell(asked, losses, BASE + COSTS_DC[np.arange(4), asked.architectures].sum(axis=1))
    np.testing.assert_array_equal(optimizer.probs, other.probs)


CONDITIONAL: dict[str, Any] = {
    "num_categories": (3, 2, 3, 2),
    "conditions": (None, (0, 1), (1, 0), (0, 2)),
    "prior": ((1, 2, 1), None, (3, 1, 1), None),
}
CONDITIONAL_COSTS = [[0.1, 0.0, 0.2], [0.3, 0.1, 0.0], [0.5, 0.2, 0.0], [0.1, 0.4, 0.0]]


def test_the_start_of_a_conditional_space_expects_its_targets_and_tilts_the_prior_alike():
    """By enumeration: without the uniform share the law is prior(a) exp(-lambda R(a)) over all architectures."""
    layout = CategoryLayout.of(**CONDITIONAL)
    ranges = itertools.product(*(range(-1, count) for count in layout.num_categories))
    space_ND = np.array([row for row in ranges if not layout.outside(np.array([row])).any()])
    costs_DC = np.array(CONDITIONAL_COSTS)
    costs_N = np.where(space_ND < 0, 0.0, costs_DC[np.arange(4), space_ND]).sum(axis=1)
    targets = (0.25, 0.35, 0.45)
    optimizer = new_optimizer(**CONDITIONAL, targets=targets, cost_table=costs_DC, base_cost=0.0)
    probability_KN = np.exp(log_prob(optimizer.probs, space_ND, layout))
    np.testing.assert_allclose(probability_KN.sum(axis=1), 1.0)
    np.testing.assert_allclose(probability_KN @ costs_N, targets, rtol=1e-12)
    prior_KDC = uniform_probs(layout, 3)
    probs_KDC = start_near_targets(layout, targets, costs_DC, 0.0, np.full(4, 1e-9))
    tilted_KDC = (probs_KDC - UNIFORM_SHARE * prior_KDC) / (1.0 - UNIFORM_SHARE)
    for log_p_N, log_prior_N in zip(
        log_prob(tilted_KDC, space_ND, layout), log_prob(prior_KDC, space_ND, layout), strict=True
    ):
        slope, intercept = np.polyfit(costs_N, log_p_N - log_prior_N, 1)
        np.testing.assert_allclose(log_p_N - log_prior_N, intercept + slope * costs_N, atol=1e-6)
