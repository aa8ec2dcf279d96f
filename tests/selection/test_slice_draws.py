"""Networks of a slice: the law by brute force, with several limits and with costs that are no sum."""

import numpy as np
import pytest
from scipy import stats

from multinas_ray.selection import slice_draws
from multinas_ray.selection.budget import Budget
from multinas_ray.selection.slice_draws import SliceDraws
from multinas_ray.spaces import nas_bench_macro_space
from tests.support.uneven_cost import Unevenness

NETWORKS = nas_bench_macro_space(width_multiplier=0.5, image_size=16)
SPACE, EQUIVALENCE = NETWORKS.search_space, NETWORKS.equivalence
FLOPS, PARAMS = NETWORKS.costs["flops"], NETWORKS.costs["params"]
COSTS = {**NETWORKS.costs, "unevenness": Unevenness("unevenness", SPACE.num_categories)}
ALL = np.unique(EQUIVALENCE.canonical(SPACE.enumerate()), axis=0)
LIMITS = {
    "one limit": {"flops": 0.4 * FLOPS.maximum},
    "two limits": {"flops": 0.4 * FLOPS.maximum, "params": 0.5 * PARAMS.maximum},
    "with one that is no sum": {"flops": 0.4 * FLOPS.maximum, "unevenness": 1.0},
    "one that is no sum": {"unevenness": 1.0},
}


def inside(limits, share):
    """The networks of the slice, from the definition."""
    shares = np.stack([COSTS[name](ALL) / limit for name, limit in limits.items()]).max(axis=0)
    return {tuple(row) for row in ALL[(shares <= 1) & (shares > 1 - share)].tolist()}


def draw(limits, number, share, seed=0, probs=None):
    draws = SliceDraws(SPACE, EQUIVALENCE)
    rows = draws.draw(Budget(limits, COSTS), number, share, np.random.default_rng(seed), probs)
    return [tuple(row) for row in rows.tolist()]


@pytest.fixture(params=["listed", "drawn"])
def way(request, monkeypatch):
    """Small spaces are listed; here they are also drawn from as large ones are."""
    monkeypatch.setattr(slice_draws, "ENUMERABLE", 50_000 if request.param == "listed" else 0)
    return request.param


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_draws_are_different_networks_of_the_slice(way, limits):
    rows = draw(limits, 50, 0.1)
    assert len(set(rows)) == len(rows) == 50
    assert set(rows) <= inside(limits, 0.1)


@pytest.mark.parametrize("limits", list(LIMITS.values())[:2], ids=list(LIMITS)[:2])
@pytest.mark.parametrize("share", [0.03, 0.1, 1.0])
def test_a_slice_with_fewer_networks_than_wanted_is_given_whole(way, limits, share):
    assert set(draw(limits, 5000, share)) == inside(limits, share)


def test_of_two_limits_either_may_be_the_tightest(way):
    limits = LIMITS["two limits"]
    flops, params = (COSTS[name](np.array(draw(limits, 80, 0.1))) / limit for name, limit in limits.items())
    assert ((flops > 0.9) & (params < 0.9)).any()
    assert ((params > 0.9) & (flops < 0.9)).any()


def test_every_network_of_a_slice_is_drawn_as_often(way):
    """How often each is among 8, over 400 draws; chi-square, significance 1e-4."""
    budget, rng = Budget({"flops": 0.33 * FLOPS.maximum}, COSTS), np.random.default_rng(0)
    members, draws = sorted(inside(budget.limits, 0.02)), SliceDraws(SPACE, EQUIVALENCE)
    assert 20 < len(members) < 60
    counts = dict.fromkeys(members, 0)
    for _ in range(400):
        for row in draws.draw(budget, 8, 0.02, rng).tolist():
            counts[tuple(row)] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


def test_weighted_draws_have_the_law_of_independent_choices_given_the_slice():
    """The first of 400 draws against the exact law, the sum over encodings; chi-square, significance 1e-4."""
    probs = np.random.default_rng(8).dirichlet(np.full(3, 9.0), SPACE.num_variables)
    budget, rng = Budget({"flops": 0.3 * FLOPS.maximum}, COSTS), np.random.default_rng(1)
    law, encodings = dict.fromkeys(sorted(inside(budget.limits, 0.04)), 0.0), SPACE.enumerate()
    chances = probs[np.arange(SPACE.num_variables), encodings].prod(axis=1)
    for row, chance in zip(map(tuple, EQUIVALENCE.canonical(encodings).tolist()), chances, strict=True):
        if row in law:
            law[row] += chance
    draws, counts = SliceDraws(SPACE, EQUIVALENCE), dict.fromkeys(law, 0)
    for _ in range(400):
        counts[tuple(draws.draw(budget, 1, 0.04, rng, probs)[0].tolist())] += 1
    observed, expected = np.array(list(counts.values())), 400 * np.array(list(law.values())) / sum(law.values())
    common = expected >= 5
    assert common.sum() > 5
    rest = ~common
    found, wanted = [*observed[common], observed[rest].sum()], [*expected[common], expected[rest].sum()]
    assert stats.chisquare(found, wanted).pvalue > 1e-4


def test_an_empty_slice_gives_nothing(way):
    assert draw({"flops": FLOPS.minimum - 1}, 5, 1.0) == []
    assert draw({"unevenness": -1.0}, 5, 0.5) == []


class Counted(Unevenness):
    """Counts what it is asked, and says that it is slow."""

    num_draws = 50
    asked = 0

    def __call__(self, architectures):
        type(self).asked += len(architectures)
        return super().__call__(architectures)


def test_a_slow_cost_is_asked_for_few_networks(way, monkeypatch):
    cost = Counted("unevenness", SPACE.num_categories)
    budget = Budget({"unevenness": 1.0}, {"unevenness": cost})
    monkeypatch.setattr(Counted, "asked", 0)
    rows_ND = SliceDraws(SPACE, EQUIVALENCE).draw(budget, 20, 1.0, np.random.default_rng(0))
    assert len(rows_ND) == 20
    assert (cost(rows_ND) <= 1.0).all()
    assert Counted.asked <= 600
