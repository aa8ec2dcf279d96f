"""Draws follow the distributions, what is recorded with them is their density, and the margin keeps them
alive."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multinas_ray import MultiDistributionOptimizer
from multinas_ray.core import distributions
from multinas_ray.core.distributions import uniform_probs
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.margin import apply_margin, margin_floors

# The 99.9 % quantile of chi-square with 23 degrees of freedom (24 cells).
CHI_SQUARE_23 = 49.728


def moved_optimizer(**options):
    """An optimiser whose distributions have parted."""
    optimizer = MultiDistributionOptimizer(
        num_categories=[3, 1, 2, 4], coefficients=[0.0, 1.0, 3.0], seed=17, **options
    )
    for _ in range(12):
        proposals = optimizer.ask()
        losses = -proposals.architectures.sum(axis=1) / 6
        optimizer.tell(proposals, losses, proposals.architectures.sum(axis=1) / 6)
    assert np.ptp(optimizer.probs, axis=0).max() > 0.2
    return optimizer


def space_of(num_categories):
    return np.array(list(itertools.product(*(range(count) for count in num_categories))))


@pytest.mark.parametrize("source", [0, 1, 2])
def test_draws_follow_their_distribution(source):
    """Chi-square over all 24 architectures; 24,000 draws, seed 18, significance 0.1 %."""
    optimizer = moved_optimizer()
    layout = CategoryLayout.from_num_categories([3, 1, 2, 4])
    space_ND, num_samples = space_of(layout.num_categories), 24_000
    sources_N = np.full(num_samples, source)
    drawn_ND = distributions.sample_architectures(optimizer.probs, sources_N, layout, np.random.default_rng(18))
    counts = np.bincount(np.ravel_multi_index(drawn_ND.T, layout.num_categories), minlength=24)
    expected = num_samples * np.exp(distributions.log_prob(optimizer.probs, space_ND)[source])
    assert expected.min() > 5
    assert ((counts - expected) ** 2 / expected).sum() < CHI_SQUARE_23


def test_sample_follows_the_mixture():
    """Chi-square as above for `sample`; 24,000 draws. Stratified draws vary less, so the level is
    conservative."""
    optimizer = moved_optimizer()
    counts = np.bincount(np.ravel_multi_index(optimizer.sample(24_000).T, (3, 1, 2, 4)), minlength=24)
    log_prob_KN = distributions.log_prob(optimizer.probs, space_of((3, 1, 2, 4)))
    expected = 24_000 * np.exp(log_prob_KN).mean(axis=0)
    assert ((counts - expected) ** 2 / expected).sum() < CHI_SQUARE_23


def test_a_stratum_has_equal_counts_in_random_order():
    proposals = moved_optimizer(samples_per_update=300).ask()
    np.testing.assert_array_equal(np.bincount(proposals.sources), [100, 100, 100])
    assert (np.diff(proposals.sources) < 0).any(), "sorted sources would bias partial results"
    # Hypergeometric: a count in the first 150 has mean 50 and deviation 4.1; five deviations, seed 17.
    assert (np.abs(np.bincount(proposals.sources[:150]) - 50) < 21).all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 300])
def test_remainder_strata_are_chosen_at_random(n):
    rng = np.random.default_rng(19)
    counts = np.array([np.bincount(distributions.stratified_sources(n, 3, rng), minlength=3) for _ in range(300)])
    assert (counts.sum(axis=1) == n).all()
    assert (counts >= n // 3).all()
    assert (counts <= -(-n // 3)).all()
    # A remainder adds a Bernoulli of at most deviation 0.5; five deviations of the mean of 300.
    np.testing.assert_allclose(counts.mean(axis=0), n / 3, rtol=0, atol=5 * 0.5 / np.sqrt(300))


def test_recorded_density_is_the_mixtures():
    optimizer = moved_optimizer()
    probs_KDC, proposals = optimizer.probs, optimizer.ask(11)
    for row in range(11):
        each = [np.prod([probs_KDC[k, d, c] for d, c in enumerate(proposals.architectures[row])]) for k in range(3)]
        assert proposals.log_q[row] == pytest.approx(np.log(np.mean(each)), rel=1e-12)
    assert (proposals.drawn_at == 12).all()


def test_sample_neither_queues_nor_remembers():
    optimizer = moved_optimizer()
    before = optimizer.state_dict()
    architectures_ND = optimizer.sample(7)
    assert architectures_ND.shape == (7, 4)
    assert architectures_ND.dtype == np.int64
    after = optimizer.state_dict()
    assert before["counters"] == after["counters"]
    assert len(optimizer.pending()) == len(after["queue"]["ids"]) == 0


def test_draws_never_fall_into_the_padding():
    """A cumulative sum that rounds to below 1 under the largest uniform number there is."""

    class LargestUniform:
        def random(self, shape):
            return np.full(shape, np.nextafter(1.0, 0.0))

    largest: Any = LargestUniform()
    layout = CategoryLayout.from_num_categories([10, 6])
    probs_KDC = uniform_probs(layout, 2)
    assert probs_KDC[0, 1].cumsum()[5] < 1.0
    drawn_ND = distributions.sample_architectures(probs_KDC, np.array([0, 1]), layout, largest)
    np.testing.assert_array_equal(drawn_ND, [[9, 5], [9, 5]])


@pytest.mark.parametrize(
    ("num_categories", "scale", "expected"),
    [
        ([3, 5, 2], 1.0, [1 / 6, 1 / 12, 1 / 3]),
        ([3, 5, 2], 0.5, [1 / 12, 1 / 24, 1 / 6]),
        ([3, 1, 5, 1], 1.0, [1 / 4, 1, 1 / 8, 1]),  # fixed variables do not count
        ([4], 1.0, [1 / 8]),  # 1 / 3 would leave no room
        ([2, 2], 1.0, [1 / 4, 1 / 4]),  # 1 / 2 would leave none
        ([2, 2], 0.5, [1 / 4, 1 / 4]),
        ([2, 3], 1.0, [1 / 4, 1 / 4]),
        ([1, 1], 1.0, [1, 1]),
    ],
)
def test_floors_by_hand(num_categories, scale, expected):
    layout = CategoryLayout.from_num_categories(num_categories)
    np.testing.assert_allclose(margin_floors(layout, scale), expected, rtol=1e-15)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=6),
    st.floats(0.01, 3.0),
    st.floats(1e-3, 1e3),
    st.integers(0, 2**32 - 1),
)
def test_margin_gives_probabilities_above_the_floor(num_categories, scale, step, seed):
    layout = CategoryLayout.from_num_categories(num_categories)
    floor_D = margin_floors(layout, scale)
    direction_KDC = np.random.default_rng(seed).normal(size=(2, *layout.valid_DC.shape))
    free_DC = layout.valid_DC & layout.free_D[:, None]
    mean_KD = direction_KDC.sum(axis=2, keepdims=True, where=layout.valid_DC) / (layout.last_D + 1)[:, None]
    direction_KDC = np.where(free_DC, direction_KDC - mean_KD, 0)
    probs_KDC = apply_margin(uniform_probs(layout, 2) + step * direction_KDC, floor_D, layout)
    np.testing.assert_allclose(probs_KDC.sum(axis=2), 1.0, rtol=0, atol=1e-12)
    assert not probs_KDC[:, ~layout.valid_DC].any()
    floor_DC = np.broadcast_to(floor_D[:, None], layout.valid_DC.shape)
    assert (probs_KDC[:, layout.valid_DC] >= floor_DC[layout.valid_DC] * (1 - 1e-9)).all()
    assert (probs_KDC[:, ~layout.free_D, 0] == 1.0).all()


def test_fixed_variables_stay_fixed_and_change_nothing():
    results = []
    for num_categories, columns in (([3, 1, 2], [0, 1, 2]), ([3, 2], [0, 2])):
        optimizer = MultiDistributionOptimizer(num_categories=num_categories, coefficients=[0.0, 0.5], seed=20)
        rng = np.random.default_rng(21)
        for _ in range(40):
            proposals = optimizer.ask()
            wide = np.zeros((4, 3), int)
            wide[:, columns] = proposals.architectures
            # The number of variables changes the draws, so both get one list of architectures.
            wide[:, 0], wide[:, 2] = rng.integers(3, size=4), rng.integers(2, size=4)
            told = type(proposals)(
                architectures=wide[:, columns],
                log_q=np.full(4, -np.log(6.0)),
                sources=proposals.sources,
                ids=proposals.ids,
                drawn_at=proposals.drawn_at,
            )
            optimizer.tell(told, rng.random(4), rng.random(4))
        results.append(optimizer.probs)
    assert (results[0][:, 1] == [1.0, 0.0, 0.0]).all()
    np.testing.assert_allclose(results[0][:, [0, 2]], results[1], rtol=1e-12)


def test_a_space_of_one_architecture_runs():
    optimizer = MultiDistributionOptimizer(num_categories=[1, 1], coefficients=[0.0, 1.0], seed=22)
    proposals = optimizer.ask()
    assert (proposals.log_q == 0.0).all()
    assert optimizer.tell(proposals, [1.0, 2.0, 3.0, 4.0], [1.0] * 4) == 1
    assert (optimizer.probs == 1.0).all()


def test_diagnostics_by_hand():
    cost_DC = [[0.1, 0.2, np.nan, 9.0], [0.0, 0.3, 0.6, 9.0]]  # NaN and 9.0 are padding and must not count
    options: dict[str, Any] = {"num_categories": [2, 3], "coefficients": [0.0, 1.0], "seed": 23}
    exact = MultiDistributionOptimizer(**options, cost_table=cost_DC, base_cost=0.5).diagnostics()
    np.testing.assert_allclose(exact["expected_complexity"], 0.5 + 0.15 + 0.3)
    np.testing.assert_allclose(exact["entropy"], np.log(6.0))
    np.testing.assert_allclose(exact["mode_probability"], 1 / 6)
    np.testing.assert_array_equal(exact["coefficient"], [0.0, 1.0])
    np.testing.assert_array_equal(exact["step_size"], 1.0)
    for name in ("expected_loss", "effective_sample_size"):
        assert np.isnan(exact[name]).all(), "unknown before the first update"

    optimizer = MultiDistributionOptimizer(**options)
    assert np.isnan(optimizer.diagnostics()["expected_complexity"]).all()
    proposals = optimizer.ask()
    optimizer.tell(proposals, [1.0, np.inf, 2.0, 6.0], [0.1, np.nan, 0.3, 0.8])
    report = optimizer.diagnostics()  # the weights were all 1
    np.testing.assert_allclose(report["expected_loss"], 3.0)
    np.testing.assert_allclose(report["expected_complexity"], 0.4)
    np.testing.assert_allclose(report["effective_sample_size"], 4.0)
    assert report["mode"].shape == (2, 2)
