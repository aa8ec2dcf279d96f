"""Draws from slices of a cost: the law by brute force, and spaces far too large for that."""

import numpy as np
import pytest
from scipy import stats

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import AdditiveCost, CostSlice, cifar10_mobile_space, nas_bench_macro_space

SPACE = nas_bench_macro_space(width_multiplier=0.5, image_size=16)
FLOPS = SPACE.costs["flops"]


def networks_within(low, high):
    rows = np.unique(SPACE.equivalence.canonical(SPACE.search_space.enumerate()), axis=0)
    costs = FLOPS(rows)
    return rows[(costs > low) & (costs <= high)]


@pytest.mark.parametrize("num_bins", [7, 64, 4096])
def test_every_network_of_a_slice_is_equally_likely(num_bins):
    """Chi-square on 40,000 draws, seed 1, significance 1e-4."""
    low, high = 0.31 * FLOPS.maximum, 0.345 * FLOPS.maximum
    members = networks_within(low, high)
    assert 60 < len(members) < 160
    places = {tuple(row): place for place, row in enumerate(members.tolist())}
    slice_ = CostSlice(FLOPS, low, high, equivalence=SPACE.equivalence, num_bins=num_bins)
    drawn = slice_.draw(40_000, np.random.default_rng(1))
    assert len(drawn) == 40_000
    counts = np.bincount([places[tuple(row)] for row in drawn.tolist()], minlength=len(members))
    assert stats.chisquare(counts).pvalue > 1e-4


def test_without_an_equivalence_encodings_are_equally_likely():
    """Chi-square on 40,000 draws, seed 2, significance 1e-4."""
    cost = AdditiveCost.from_rows("size", [[0.0, 1.0, 2.5], [0.0, 0.7], [0.1, 0.1, 0.3, 3.0]], base=1.0)
    rows = np.stack(np.unravel_index(np.arange(24), (3, 2, 4)), axis=1)
    members = [tuple(row) for row in rows[(cost(rows) > 1.5) & (cost(rows) <= 4.0)].tolist()]
    drawn = CostSlice(cost, 1.5, 4.0).draw(40_000, np.random.default_rng(2))
    counts = np.bincount([members.index(tuple(row)) for row in drawn.tolist()], minlength=len(members))
    assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("num_bins", [7, 4096])
def test_weighted_draws_are_those_of_independent_choices_in_the_interval(num_bins):
    """Chi-square on 40,000 draws, seed 6, significance 1e-4."""
    cost = AdditiveCost.from_rows("size", [[0.0, 1.0, 2.5], [0.0, 0.7], [0.1, 0.1, 0.3, 3.0]], base=1.0)
    probs = np.array([[0.5, 0.3, 0.2, 0.0], [0.9, 0.1, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
    rows = np.stack(np.unravel_index(np.arange(24), (3, 2, 4)), axis=1)
    rows = rows[(cost(rows) > 1.5) & (cost(rows) <= 4.0)]
    chances = probs[np.arange(3), rows].prod(axis=1)
    drawn = CostSlice(cost, 1.5, 4.0, probs=probs, num_bins=num_bins).draw(40_000, np.random.default_rng(6))
    members = [tuple(row) for row in rows.tolist()]
    counts = np.bincount([members.index(tuple(row)) for row in drawn.tolist()], minlength=len(members))
    assert stats.chisquare(counts, 40_000 * chances / chances.sum()).pvalue > 1e-4


def test_distinct_draws_end_with_the_whole_slice():
    low, high = 0.31 * FLOPS.maximum, 0.345 * FLOPS.maximum
    members = {tuple(row) for row in networks_within(low, high).tolist()}
    slice_ = CostSlice(FLOPS, low, high, equivalence=SPACE.equivalence)
    few = slice_.draw_distinct(20, np.random.default_rng(3)).tolist()
    assert len(few) == len(set(map(tuple, few))) == 20
    everything = {tuple(row) for row in slice_.draw_distinct(10_000, np.random.default_rng(3)).tolist()}
    assert everything == members


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9, 1.0])
def test_a_space_of_1e13_is_reached_everywhere(share):
    space = cifar10_mobile_space()
    assert space.search_space.num_architectures > 1e12
    cost = space.costs["flops"]
    high = cost.minimum + share * (cost.maximum - cost.minimum)
    equivalence = space.equivalence
    rows = CostSlice(cost, 0.9 * high, high, equivalence=equivalence).draw_distinct(300, np.random.default_rng(4))
    assert len(rows) == len(np.unique(rows, axis=0)) == 300
    assert ((cost(rows) > 0.9 * high) & (cost(rows) <= high)).all()
    assert (equivalence.canonical(rows) == rows).all()


def test_a_slice_that_holds_only_the_dearest_network():
    rows = CostSlice(FLOPS, 0.9999 * FLOPS.maximum, FLOPS.maximum).draw_distinct(5, np.random.default_rng(5))
    assert rows.tolist() == [FLOPS.argmax().tolist()]


def test_an_empty_slice_gives_nothing():
    rng = np.random.default_rng(6)
    beyond = CostSlice(FLOPS, 2 * FLOPS.maximum, 3 * FLOPS.maximum)
    assert beyond.is_empty
    assert beyond.draw(3, rng).shape == beyond.draw_distinct(3, rng).shape == (0, 8)
    gap = CostSlice(AdditiveCost.from_rows("gap", [[0.0, 1.0]]), 0.4, 0.6)
    assert gap.draw(3, rng).shape == (0, 1)


def test_a_cost_that_is_the_same_for_all():
    flat = AdditiveCost.from_rows("flat", [[2.0, 2.0], [1.0, 1.0, 1.0]])
    assert len(CostSlice(flat, 0.0, 3.0).draw_distinct(10, np.random.default_rng(7))) == 6


def test_weights_of_another_shape_are_told():
    with pytest.raises(ConfigError, match=r"probs must have the shape of the cost's table, \(8, 3\), got \(1, 3\)"):
        CostSlice(FLOPS, 0.0, FLOPS.maximum, probs=np.ones((1, 3)))


@pytest.mark.parametrize(("low", "high", "bins", "text"), [(2.0, 1.0, 8, "low < high"), (0.0, 1.0, 0, "num_bins")])
def test_bad_arguments_are_told(low, high, bins, text):
    with pytest.raises(ConfigError, match=text):
        CostSlice(FLOPS, low, high, num_bins=bins)
