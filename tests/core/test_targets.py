"""Coefficients that follow targets."""

import re

import numpy as np
import pytest

from multinas_ray.core import MultiDistributionOptimizer
from multinas_ray.core.targets import COEFFICIENT_LIMITS, adapted_coefficients
from multinas_ray.errors import ConfigError

NUM_CATEGORIES = [4] * 6
COSTS_DC = np.tile(np.arange(4.0), (6, 1)) / 18  # complexities from 0 to 1
TARGETS = (0.7, 0.45, 0.2)


def new_optimizer(**changes) -> MultiDistributionOptimizer:
    settings = {
        "num_categories": NUM_CATEGORIES,
        "coefficients": (0.1, 0.5, 2.0),
        "samples_per_update": 12,
        "seed": 0,
        "cost_table": COSTS_DC,
        "targets": TARGETS,
    }
    return MultiDistributionOptimizer(**{**settings, **changes})


def run(optimizer, num_updates):
    """Tells a convex front's losses; returns all that was told."""
    told = []
    for _ in range(num_updates):
        proposals = optimizer.ask()
        complexities = COSTS_DC[np.arange(6), proposals.architectures].sum(axis=1)
        told.append((proposals, (1.0 - complexities) ** 2, complexities))
        optimizer.tell(*told[-1])
    return told


def test_one_step_by_hand() -> None:
    coefficients = np.array([0.1, 0.2, 0.3, 0.4])
    adapted = adapted_coefficients(coefficients, np.array([0.6, 0.4, 0.2, np.nan]), (0.4, 0.4, 0.4, 0.4), 0.1)
    np.testing.assert_allclose(adapted, [0.1 * np.exp(0.05), 0.2, 0.3 * np.exp(-0.05), 0.4], rtol=1e-15)


def test_a_target_out_of_reach_leaves_a_coefficient_that_can_come_back() -> None:
    coefficients = np.array([1e-6, 1e6])
    assert tuple(adapted_coefficients(coefficients, np.array([0.1, 0.9]), (0.9, 0.1), 5.0)) == COEFFICIENT_LIMITS


@pytest.mark.parametrize("exact", [True, False])
def test_expected_complexities_come_to_their_targets(exact: bool) -> None:
    optimizer = new_optimizer(target_rate=0.05, cost_table=COSTS_DC if exact else None)
    run(optimizer, 300)
    found = []
    for _ in range(100):
        run(optimizer, 1)
        found.append(optimizer.diagnostics()["expected_complexity"])
    np.testing.assert_allclose(np.mean(found, axis=0), TARGETS, rtol=0.15)


def test_without_targets_coefficients_stay() -> None:
    optimizer = new_optimizer(targets=None)
    run(optimizer, 5)
    assert optimizer.diagnostics()["coefficient"].tolist() == [0.1, 0.5, 2.0]


def test_the_record_gives_the_coefficients_again() -> None:
    optimizer, again = new_optimizer(), new_optimizer(seed=1)
    for told in run(optimizer, 20):
        again.tell(*told)
    assert (again.diagnostics()["coefficient"] == optimizer.diagnostics()["coefficient"]).all()
    assert (optimizer.diagnostics()["coefficient"] != [0.1, 0.5, 2.0]).all()


def test_a_state_goes_on_with_its_coefficients() -> None:
    optimizer, copy = new_optimizer(), new_optimizer(seed=1)
    run(optimizer, 10)
    copy.load_state_dict(optimizer.state_dict())
    run(optimizer, 5)
    run(copy, 5)
    assert (copy.diagnostics()["coefficient"] == optimizer.diagnostics()["coefficient"]).all()
    assert (copy.probs == optimizer.probs).all()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"targets": (0.5, 0.4)}, "targets must be one for each of the 3 coefficients, got 2"),
        ({"targets": (0.5, 0.5, 0.4)}, "targets must be strictly decreasing"),
        ({"targets": (0.5, 0.4, 0.0)}, "targets[2] must be positive and finite, got 0.0"),
        ({"coefficients": (0.0, 0.5, 2.0)}, "with targets every coefficient must be positive"),
        ({"target_rate": 0.0}, "target_rate must be positive and finite, got 0.0"),
    ],
)
def test_what_targets_cannot_be(changes, text) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        new_optimizer(**changes)
