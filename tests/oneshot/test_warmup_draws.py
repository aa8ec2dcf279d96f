"""The subnets that the warm-up trains, by their law."""

import numpy as np
import pytest
from scipy.stats import chisquare

from multinas_ray.oneshot.warmup_draws import WarmupDraws

CATEGORIES = (3, 1, 4)


def draws(kind, num_rounds, count=2, seed=5):
    warmup = WarmupDraws(num_categories=CATEGORIES, seed=seed, kind=kind)
    return np.concatenate([warmup.draw(number, count) for number in range(num_rounds)])


@pytest.mark.parametrize("kind", ["uniform", "fair"])
def test_all_architectures_are_equally_likely(kind):
    """Chi-square of each 2,400 draws, seed 5, level 1e-3; of "fair" ones every twelfth, which are independent."""
    rows = draws(kind, 14_400)[::12] if kind == "fair" else draws(kind, 1_200)
    counts = np.bincount(np.ravel_multi_index(tuple(rows.T), CATEGORIES), minlength=12)
    assert counts.sum() == 2_400
    assert chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("count", [1, 2, 5])
def test_fair_draws_train_each_block_of_a_position_once_in_every_c(count):
    rows = draws("fair", 60, count)[:60]
    for position, size in enumerate(CATEGORIES):
        laps = rows[: len(rows) // size * size, position].reshape(-1, size)
        assert (np.sort(laps, axis=1) == np.arange(size)).all()
        assert size == 1 or len(np.unique(laps, axis=0)) > 1  # the order changes
    assert not np.array_equal(rows[:12, 0], np.resize(rows[:12, 2], 12))


@pytest.mark.parametrize("kind", ["uniform", "fair"])
def test_draws_depend_on_seed_and_round_alone(kind):
    rows = draws(kind, 10)
    again = WarmupDraws(num_categories=CATEGORIES, seed=5, kind=kind).draw(7, 2)
    np.testing.assert_array_equal(rows[14:16], again)
    assert not np.array_equal(rows, draws(kind, 10, seed=6))
