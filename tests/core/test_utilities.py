"""Weighted quantile utilities: hand values, integrals, ties and replication."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multinas_ray.core.utility import quantile_utilities, scalarised_losses

INF = np.inf


def utilities_by_loops(scores, weights):
    """Returns u by docs/METHOD.md step 5, with the integral of s by its three pieces."""
    total = sum(weights)
    result: list[float | None] = []
    for own in scores:
        low = sum(w for f, w in zip(scores, weights, strict=True) if f < own) / total
        high = sum(w for f, w in zip(scores, weights, strict=True) if f <= own) / total
        if high <= low:
            result.append(None)  # no weight: any value will do
            continue
        best = max(0.0, min(high, 0.25) - low)
        worst = max(0.0, high - max(low, 0.75))
        result.append((best - worst) / (high - low))
    return result


@pytest.mark.parametrize(
    ("scores", "weights", "expected"),
    [
        ([1, 2, 3, 4], [1, 1, 1, 1], [1, 0, 0, -1]),
        ([4, 1, 3, 2], [1, 1, 1, 1], [-1, 1, 0, 0]),
        ([8, 7, 6, 5, 4, 3, 2, 1], [1] * 8, [-1, -1, 0, 0, 0, 0, 1, 1]),
        ([1, 1, 2, 3], [1, 1, 1, 1], [0.5, 0.5, 0, -1]),
        ([1, 2, 3, 3], [1, 1, 1, 1], [1, 0, -0.5, -0.5]),
        ([5, 5, 5, 5], [1, 1, 1, 1], [0, 0, 0, 0]),
        ([1, 2], [1, 1], [0.5, -0.5]),
        ([1, 2], [1, 3], [1, -1 / 3]),
        ([1, 2, INF, INF], [1, 1, 1, 1], [1, 0, -0.5, -0.5]),
        ([INF, INF], [1, 1], [0, 0]),
        ([-1, -2, -3, -4], [1, 1, 1, 1], [-1, 0, 0, 1]),
        ([1, 2, 3], [0, 0, 0], [0, 0, 0]),
        ([1, 2, 3], [0, 1, 0], [1, 0, -1]),
        ([7.0], [2.0], [0.0]),
    ],
)
def test_utilities_by_hand(scores, weights, expected):
    found = quantile_utilities(np.array([scores], float), np.array([weights], float))
    np.testing.assert_allclose(found, [expected], rtol=0, atol=1e-15)


weighted_samples = st.lists(
    st.tuples(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0, INF]), st.integers(0, 5)),
    min_size=1,
    max_size=25,
).filter(lambda samples: sum(weight for _, weight in samples) > 0)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(weighted_samples)
def test_utilities_are_the_weighted_integral_of_s(samples):
    scores = np.array([[score for score, _ in samples]])
    weights = np.array([[float(weight) for _, weight in samples]])
    found = quantile_utilities(scores, weights)
    for own, expected in zip(found[0], utilities_by_loops(scores[0], weights[0]), strict=True):
        assert expected is None or own == pytest.approx(expected, abs=1e-12)
    assert (np.abs(found) <= 1.0).all()
    assert (weights * found).sum() == pytest.approx(0.0, abs=1e-12 * weights.sum()), "s integrates to 0"
    order = scores[0].argsort()
    carried = found[0][order][weights[0][order] > 0]
    assert (np.diff(carried) <= 1e-12).all(), "better is worth at least as much"


@settings(max_examples=200, derandomize=True, deadline=None)
@given(weighted_samples)
def test_whole_weights_equal_replicated_samples(samples):
    repeats = np.array([weight for _, weight in samples])
    scores = np.array([[score for score, _ in samples]])
    weighted = quantile_utilities(scores, repeats[None].astype(float))
    replicated = quantile_utilities(np.repeat(scores, repeats, axis=1), np.ones((1, repeats.sum())))
    np.testing.assert_allclose(np.repeat(weighted, repeats, axis=1), replicated, rtol=0, atol=1e-12)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(weighted_samples, st.floats(0.01, 100.0))
def test_utilities_know_only_order_and_relative_weight(samples, scale):
    scores = np.array([[score for score, _ in samples]])
    weights = np.array([[float(weight) for _, weight in samples]])
    expected = quantile_utilities(scores, weights)
    found = quantile_utilities(4.0 * scores + 3.0, weights * scale)
    carried = weights > 0
    np.testing.assert_allclose(found[carried], expected[carried], rtol=0, atol=1e-12)


def test_each_distribution_is_ranked_by_itself():
    rng = np.random.default_rng(16)
    scores, weights = rng.normal(size=(4, 9)), rng.random((4, 9))
    together = quantile_utilities(scores, weights)
    for k in range(4):
        np.testing.assert_array_equal(together[[k]], quantile_utilities(scores[[k]], weights[[k]]))


def test_failed_evaluations_rank_worst_whatever_their_complexity():
    losses = np.array([0.5, np.nan, np.inf, -np.inf, -3.0])
    complexities = np.array([1.0, np.nan, 0.0, -5.0, 2.0])
    scores = scalarised_losses(losses, complexities, np.array([0.0, 0.5]))
    np.testing.assert_array_equal(scores, [[0.5, INF, INF, INF, -3.0], [1.0, INF, INF, INF, -2.0]])


def test_a_sum_beyond_the_largest_float_is_a_failure_not_a_warning():
    scores = scalarised_losses(np.array([1e308, 1.0]), np.array([1e308, 1.0]), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(scores, [[1e308, 1.0], [INF, 2.0]])
