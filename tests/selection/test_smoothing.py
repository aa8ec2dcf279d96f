"""Smoothing raises the agreement with the truth where losses are a sum over the blocks plus noise."""

import numpy as np
import pytest
from scipy import stats

from multinas_ray.selection.smoothing import smoothed_losses
from multinas_ray.spaces import nas_bench_macro_space

SPACE = nas_bench_macro_space(width_multiplier=0.5, image_size=16)
ROWS = np.unique(SPACE.equivalence.canonical(SPACE.search_space.enumerate()), axis=0)
SKIPS = SPACE.skips_DC


def drawn(number, seed):
    """Some networks with additive true losses."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(ROWS)[:number]
    table = rng.normal(size=(8, 3))
    return rows, table[np.arange(8), rows].sum(axis=1), rng


@pytest.mark.parametrize("number", [60, 300])
def test_of_additive_losses_with_noise_the_smoothed_ones_rank_better(number):
    """20 tables; noise as large as the spread of the truth."""
    gains = []
    for seed in range(20):
        rows, truth, rng = drawn(number, seed)
        losses = truth + rng.normal(0, truth.std(), number)
        tau = stats.kendalltau(truth, losses).statistic
        gains.append(stats.kendalltau(truth, smoothed_losses(rows, losses, SKIPS)).statistic - tau)
    assert min(gains) > 0
    assert np.mean(gains) > 0.2


def test_where_blocks_explain_nothing_hardly_anything_is_ranked():
    """Of 40 tables of pure noise the fit is flat in most, and where it is not, it is by little."""
    flat = 0
    for seed in range(40):
        rows, _, rng = drawn(100, seed)
        fit = smoothed_losses(rows, rng.normal(2.0, 0.1, 100), SKIPS)
        flat += np.ptp(fit) == 0
        assert fit.std() < 0.06
    assert flat >= 12


def test_exact_additive_losses_stay_in_their_order():
    rows, truth, _ = drawn(300, 1)
    assert stats.kendalltau(truth, smoothed_losses(rows, truth, SKIPS)).statistic > 0.99


def test_a_diverged_network_does_not_bend_the_fit():
    rows, truth, rng = drawn(300, 2)
    losses = truth + rng.normal(0, 0.3, 300)
    wild = losses.copy()
    wild[5] = 1e6
    fit = smoothed_losses(rows, wild, SKIPS)
    assert np.abs(np.delete(fit - smoothed_losses(rows, losses, SKIPS), 5)).max() < 0.5


@pytest.mark.parametrize("losses", [[0.3], [0.3, 0.3], [0.1, 0.5]])
def test_hardly_any_networks_do_no_harm(losses):
    fit = smoothed_losses(ROWS[: len(losses)], np.array(losses), SKIPS)
    assert np.isfinite(fit).all()
