import numpy as np
import pytest
from scipy import stats

from multinas_ray.selection.mutation import mutations


def test_one_or_two_blocks_change_each_alike():
    """20,000 mutations of a parent; chi-square on what changed, significance 1e-4."""
    counts, parents = (3, 1, 2, 4), np.array([[0, 0, 1, 3]])
    rows = mutations(parents, counts, 20_000, np.random.default_rng(0))
    assert ((rows >= 0) & (rows < counts)).all()
    changed = (rows != parents).sum(axis=1)
    assert set(changed) == {1, 2}
    single = np.bincount(changed)[1]
    assert stats.binomtest(single, 20_000, 0.5).pvalue > 1e-4
    of_first = rows[(rows != parents[0]).sum(axis=1) == 1]
    kinds, found = np.unique(of_first, axis=0, return_counts=True)
    assert len(kinds) == 2 + 1 + 3
    by_variable = [found[(kinds != parents[0])[:, d]].sum() for d in (0, 2, 3)]
    assert stats.chisquare(by_variable).pvalue > 1e-4
    assert stats.chisquare(found[(kinds != parents[0])[:, 3]]).pvalue > 1e-4


@pytest.mark.parametrize(("counts", "expected"), [((1, 3, 1), {(0, 0, 0), (0, 2, 0)}), ((1, 2, 1), {(0, 0, 0)})])
def test_a_space_with_one_choice_has_one_change(counts, expected):
    rows = mutations(np.array([[0, 1, 0]]), counts, 50, np.random.default_rng(0))
    assert set(map(tuple, rows.tolist())) == expected


def test_a_space_without_choices_has_none():
    assert mutations(np.array([[0, 0]]), (1, 1), 3, np.random.default_rng(0)).tolist() == [[0, 0]] * 3


def test_every_parent_is_mutated():
    parents = np.array([[0] * 9, [1] * 9, [2] * 9])
    rows = mutations(parents, (3,) * 9, 300, np.random.default_rng(0))
    assert set(np.bincount((rows[:, None] != parents).sum(axis=2).argmin(axis=1))) <= set(range(60, 141))
