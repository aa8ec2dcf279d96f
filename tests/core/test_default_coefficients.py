"""Default coefficients: in the units of the results, whatever those look like."""

import numpy as np
import numpy.typing as npt
import pytest

from multinas_ray import ConfigError, MultiDistributionOptimizer
from multinas_ray.core import default_coefficients

LOSSES = np.random.default_rng(3).normal(5.0, 2.0, 16)
COMPLEXITIES = np.random.default_rng(4).random(16)

UGLY: dict[str, tuple[npt.ArrayLike, npt.ArrayLike]] = {
    "equal losses": (np.full(8, 3.0), COMPLEXITIES[:8]),
    "equal complexities": (LOSSES, np.full(16, 0.5)),
    "all equal": (np.full(8, 3.0), np.full(8, 0.0)),
    "one finite": ([np.inf, 2.0, np.nan], [np.nan, 0.5, 0.1]),
    "none finite": ([np.inf, np.nan], [0.1, 0.2]),
    "no results": ([], []),
    "negative": (-LOSSES - 100.0, COMPLEXITIES),
    "mostly equal": ([1.0] * 15 + [2.0], [0.5] * 15 + [0.6]),
    "huge": ([-1e308, 0.0, 1e308], [0.0, 1e-300, 2e-300]),
    "tiny": ([0.0, 5e-324], [0.0, 1e308]),
    "whole numbers": ([3, 1, 2], [0, 1, 2]),
}


@pytest.mark.parametrize("num_distributions", [1, 2, 8, 64])
@pytest.mark.parametrize("name", UGLY)
def test_any_results_give_coefficients_that_the_optimiser_takes(name, num_distributions):
    losses, complexities = UGLY[name]
    coefficients = default_coefficients(losses, complexities, num_distributions)
    assert len(coefficients) == num_distributions
    assert min(coefficients) > 0.0
    MultiDistributionOptimizer(num_categories=[2], coefficients=coefficients, seed=0)


def test_they_follow_the_units_of_loss_and_complexity():
    plain = np.array(default_coefficients(LOSSES, COMPLEXITIES, 5))
    np.testing.assert_allclose(default_coefficients(100.0 * LOSSES - 7.0, COMPLEXITIES, 5), 100.0 * plain)
    np.testing.assert_allclose(default_coefficients(LOSSES, COMPLEXITIES / 9.0, 5), 9.0 * plain)


def test_they_are_log_spaced_about_the_ratio_of_the_interquartile_ranges():
    losses, complexities = np.arange(5.0) * 6.0, np.arange(5.0) / 4.0
    np.testing.assert_allclose(default_coefficients(losses, complexities, 3), [0.72, 0.72 * 333.3333**0.5, 240.0])
    np.testing.assert_allclose(default_coefficients(losses, complexities, 1), [24.0 * 0.3**0.5])


def test_outliers_and_failures_do_not_move_them():
    plain = default_coefficients(LOSSES, COMPLEXITIES, 4)
    wild = LOSSES.copy()
    wild[[LOSSES.argmax(), LOSSES.argmin()]] = [1e9, -1e9]
    assert default_coefficients(wild, COMPLEXITIES, 4) == pytest.approx(plain)
    failed = default_coefficients([*LOSSES, np.inf, 1.0], [*COMPLEXITIES, 0.3, np.nan], 4)
    assert failed == plain


@pytest.mark.parametrize("count", [0, -1, True, 2.0, "3"])
def test_a_number_of_distributions_that_is_none_is_refused(count):
    with pytest.raises(ConfigError, match="num_distributions must be a whole number from 1, got"):
        default_coefficients(LOSSES, COMPLEXITIES, count)


def test_columns_of_different_length_are_refused():
    with pytest.raises(ConfigError, match="complexities must have shape"):
        default_coefficients(LOSSES, COMPLEXITIES[1:], 3)
