"""What a prior finds promising, from the definition, on a space that is listed and drawn from."""

from typing import ClassVar

import numpy as np
import pytest

from multinas_ray.selection import PriorPart, best_by_prior, make_parts, promising, promising_networks, slice_draws
from multinas_ray.spaces import nas_bench_macro_space

MACRO = nas_bench_macro_space(width_multiplier=0.5, image_size=16)
FLOPS = MACRO.costs["flops"]
ALL = np.unique(MACRO.equivalence.canonical(MACRO.search_space.enumerate()), axis=0)
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


def promising_of(parts, targets=TARGETS, share=0.1, seed=0, **others):
    return promising_networks(MACRO, FLOPS, targets, share, parts, np.random.default_rng(seed), **others)


def test_the_cheap_parts_cut_and_all_parts_rank_what_is_left():
    depth, last = make_parts(["early_depth"], MACRO)[0], LastBlocks()
    rows = np.random.default_rng(1).permutation(ALL)[:300]
    best = best_by_prior([last, depth], rows, 20)
    cut = rows[np.argsort(ranks(depth(rows)), kind="stable")[:40]]
    assert [each.tolist() for each in last.asked] == [cut.tolist()]
    total = ranks(depth(cut)) + ranks(10 * cut[:, -1] + cut[:, -2])
    assert best.tolist() == cut[np.argsort(total, kind="stable")[:20]].tolist()


def test_without_a_cheap_part_all_networks_are_ranked():
    last, rows = LastBlocks(), np.random.default_rng(1).permutation(ALL)[:100]
    best = best_by_prior([last], rows, 5)
    assert [each.tolist() for each in last.asked] == [rows.tolist()]
    assert best.tolist() == rows[np.argsort(ranks(10 * rows[:, -1] + rows[:, -2]), kind="stable")[:5]].tolist()


@pytest.fixture(params=["listed", "drawn"])
def way(request, monkeypatch):
    """Small spaces are listed; here they are also drawn from as large ones are."""
    monkeypatch.setattr(slice_draws, "ENUMERABLE", 50_000 if request.param == "listed" else 0)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.usefixtures("way")
def test_the_best_tenth_of_a_slice_is_promising(target):
    """Both slices have fewer networks than are drawn, so that each is whole."""
    (depth,) = make_parts(["early_depth"], MACRO)
    inside = ALL[(FLOPS(ALL) <= target) & (FLOPS(ALL) > 0.9 * target)]
    assert 100 < len(inside) < promising.DRAWS
    number = round(0.1 * len(inside))
    (found,) = promising_of([depth], (target,))
    assert len({tuple(row) for row in found.tolist()}) == len(found) == number
    assert {tuple(row) for row in found.tolist()} <= {tuple(row) for row in inside.tolist()}
    np.testing.assert_array_equal(depth(found), np.sort(depth(inside))[::-1][:number])


def test_each_target_has_its_own_and_is_told_when_done():
    told, parts = [], make_parts(["early_depth"], MACRO)
    found = promising_of(parts, done=lambda: told.append(1))
    again = promising_of(parts)
    assert len(told) == len(found) == len(again) == 2
    for target, rows, same in zip(TARGETS, found, again, strict=True):
        np.testing.assert_array_equal(rows, same)
        assert ((FLOPS(rows) <= target) & (FLOPS(rows) > 0.9 * target)).all()


def test_an_empty_slice_is_made_larger():
    """No network is near twice the largest cost; at the sixth doubling of the slice, those above .72 of it are."""
    parts = make_parts(["early_depth"], MACRO)
    (found,) = promising_of(parts, (2 * FLOPS.maximum,), share=0.01)
    inside = ALL[FLOPS(ALL) > 2 * (1 - 0.64) * FLOPS.maximum]
    assert len(found) == round(0.1 * len(inside))
    np.testing.assert_array_equal(parts[0](found), np.sort(parts[0](inside))[::-1][: len(found)])
    (none,) = promising_of(parts, (FLOPS.minimum / 2,), share=0.5)
    assert none.shape == (0, 8)
