"""What a prior finds promising, from the definition, on a space that is listed and drawn from."""

from typing import ClassVar

import numpy as np
import pytest

from multinas_ray.selection import PriorPart, best_by_prior, make_parts, promising, promising_frequencies, slice_draws
from multinas_ray.spaces import Equivalence, nas_bench_macro_space

MACRO = nas_bench_macro_space(width_multiplier=0.5, image_size=16)
FLOPS = MACRO.costs["flops"]
ALL = np.unique(Equivalence.of(MACRO).canonical(MACRO.search_space.enumerate()), axis=0)
TARGETS = (0.45 * FLOPS.maximum, 0.7 * FLOPS.maximum)


class LastBlocks(PriorPart):
    """A part that costs much, and keeps what it was asked."""

    name: ClassVar[str] = "last blocks"

    def __init__(self):
        super().__init__(MACRO)
        self.asked = []

    def __call__(self, architectures_ND):
        self.asked.append(architectures_ND)
        return 10.0 * architectures_ND[:, -1] + architectures_ND[:, -2]


def ranks(values):
    """Mean ranks, the largest value first, from the definition."""
    values = np.asarray(values)
    return np.array([(values > each).sum() + ((values == each).sum() + 1) / 2 for each in values])


def frequencies(parts, targets=TARGETS, share=0.1, seed=0, **others):
    return promising_frequencies(MACRO, FLOPS, targets, share, parts, np.random.default_rng(seed), **others)


def test_the_cheap_parts_cut_and_all_parts_rank_what_is_left():
    depth, last = make_parts(["early_depth"], MACRO)[0], LastBlocks()
    rows = np.random.default_rng(1).permutation(ALL)[:300]
    best = best_by_prior([last, depth], rows, 20)
    cut = rows[np.argsort(ranks(depth(rows)), kind="stable")[:40]]
    assert [each.tolist() for each in last.asked] == [cut.tolist()]
    total = ranks(depth(cut)) + ranks(10 * cut[:, -1] + cut[:, -2])
    assert best.tolist() == cut[np.argsort(total, kind="stable")[:20]].tolist()


def test_without_a_cheap_part_the_first_networks_are_ranked():
    last, rows = LastBlocks(), ALL[:100]
    best = best_by_prior([last], rows, 5)
    assert [len(each) for each in last.asked] == [10]
    assert {tuple(row) for row in best.tolist()} <= {tuple(row) for row in rows[:10].tolist()}
    assert (np.diff(10 * best[:, -1] + best[:, -2]) <= 0).all()


@pytest.mark.parametrize("target", TARGETS)
def test_frequencies_are_those_of_the_best_tenth_of_a_slice(target):
    """Both slices have fewer networks than are drawn, so that each is whole; ties of the depth are counted out."""
    (depth,) = make_parts(["early_depth"], MACRO)
    inside = ALL[(FLOPS(ALL) <= target) & (FLOPS(ALL) > 0.9 * target)]
    assert 100 < len(inside) < promising.DRAWS
    figures, number = depth(inside), round(0.1 * len(inside))
    least = np.sort(figures)[-number]
    sure, tied = inside[figures > least], inside[figures == least]
    (found_DC,) = frequencies([depth], (target,))
    np.testing.assert_allclose(found_DC.sum(axis=1), 1.0)
    for d in range(8):
        for c in range(3):
            count = found_DC[d, c] * number
            assert abs(count - round(count)) < 1e-9
            extra = round(count) - (sure[:, d] == c).sum()
            assert 0 <= extra <= min(number - len(sure), (tied[:, d] == c).sum())


def test_each_target_has_frequencies_of_its_own_and_is_told_when_done():
    told, parts = [], make_parts(["early_depth"], MACRO)
    found_KDC = frequencies(parts, done=lambda: told.append(1))
    assert len(told) == 2
    np.testing.assert_array_equal(found_KDC, frequencies(parts))
    assert np.abs(found_KDC[0] - found_KDC[1]).max() > 0.2
    assert np.abs(found_KDC - frequencies(parts, seed=1)).max() < 0.2  # ties alone


def test_large_spaces_are_drawn_from(monkeypatch):
    parts, listed_KDC = make_parts(["early_depth"], MACRO), frequencies(make_parts(["early_depth"], MACRO))
    monkeypatch.setattr(slice_draws, "ENUMERABLE", 0)
    assert np.abs(frequencies(parts) - listed_KDC).max() < 0.2


def test_an_empty_slice_is_made_larger():
    """No network lies just below twice the largest cost; the whole budget is the whole space."""
    parts = make_parts(["early_depth"], MACRO)
    (found_DC,) = frequencies(parts, (2 * FLOPS.maximum,), share=0.01)
    assert (found_DC[:, 0] < 0.2).all()  # of 1,000 networks those with the most early blocks
    (none_DC,) = frequencies(parts, (FLOPS.minimum / 2,), share=0.5)
    np.testing.assert_allclose(none_DC, 1 / 3)
