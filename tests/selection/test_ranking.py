"""Combined ranks, by hand."""

import numpy as np
import pytest
from scipy import stats

from multinas_ray.selection.goals import Goal
from multinas_ray.selection.pool import Candidate
from multinas_ray.selection.ranking import Ranking, scaled_ranks
from multinas_ray.spaces import nas_bench_macro_space

BUDGET = Goal(limits={"params": 100.0})


def candidates_of(sizes, architectures=None):
    rows = architectures or [(place,) for place in range(len(sizes))]
    return [
        Candidate(
            goal=0,
            origin="slice",
            architecture=row,
            costs={"params": size},
            complexity=size / 100,
            evaluation_id=None,
            recorded_loss=None,
            within_budget=True,
        )
        for row, size in zip(rows, sizes, strict=True)
    ]


def figures(*values):
    return {(place,): value for place, value in enumerate(values)}


@pytest.mark.parametrize(
    ("values", "ranks"),
    [
        ([3.0, 1.0, 2.0, 4.0], [0.75, 0.25, 0.5, 1.0]),
        ([1.0, 1.0, 0.0, 2.0], [0.625, 0.625, 0.25, 1.0]),
        ([5.0, 5.0], [0.75, 0.75]),
        ([np.nan, 1.0, np.inf, -np.inf], [0.875, 0.5, 0.875, 0.25]),
        ([], []),
    ],
)
def test_ranks_are_shares_and_ties_have_their_mean(values, ranks):
    assert scaled_ranks(values).tolist() == ranks


def test_loss_and_parts_of_the_prior_add_up_by_their_weights():
    prior = {"one": figures(5.0, 7.0, 7.0, 1.0), "other": figures(0.0, 3.0, 2.0, 1.0)}
    ranks = Ranking(prior=prior, weight=0.5).ranks(BUDGET, candidates_of([90, 91, 92, 93]), [0.1, 0.3, 0.2, 0.4])
    assert ranks.loss_N.tolist() == [0.25, 0.75, 0.5, 1.0]
    assert ranks.prior_PN.tolist() == [[0.75, 0.375, 0.375, 1.0], [1.0, 0.25, 0.5, 0.75]]
    expected = [(0.25 + 0.5 * 1.75) / 2, (0.75 + 0.5 * 0.625) / 2, (0.5 + 0.5 * 0.875) / 2, (1.0 + 0.5 * 1.75) / 2]
    np.testing.assert_allclose(ranks.combined_N, expected)


def test_without_a_prior_or_without_weight_the_loss_alone_ranks():
    losses = [0.3, 0.1, 0.2]
    alone = Ranking().ranks(BUDGET, candidates_of([1, 2, 3]), losses)
    assert alone.combined_N.tolist() == alone.loss_N.tolist() == scaled_ranks(losses).tolist()
    assert alone.prior_PN.shape == (0, 3)
    unweighted = Ranking(prior={"one": figures(3.0, 1.0, 2.0)}, weight=0.0)
    assert unweighted.ranks(BUDGET, candidates_of([1, 2, 3]), losses).combined_N.tolist() == alone.loss_N.tolist()


def test_for_a_coefficient_the_objective_ranks_and_the_prior_beyond_the_size():
    """The figures are 3 * size + (0, 1, -1, 0, 0) less the part of that which is linear in the size."""
    sizes, extra = np.array([10.0, 20.0, 30.0, 40.0, 50.0]), np.array([0.0, 1.0, -1.0, 0.0, 0.0])
    goal = Goal(coefficient=2.0, distribution=0)
    ranking = Ranking(prior={"one": figures(*(3 * sizes + extra))})
    ranks = ranking.ranks(goal, candidates_of(sizes.tolist()), [0.5, 0.2, 0.1, 0.05, 0.0])
    assert ranks.loss_N.tolist() == scaled_ranks([0.7, 0.6, 0.7, 0.85, 1.0]).tolist()
    centred = sizes - sizes.mean()
    residuals = extra - (centred @ extra) / (centred @ centred) * centred
    assert ranks.prior_PN[0].tolist() == scaled_ranks(-residuals).tolist()
    assert ranks.prior_PN[0].argmin() == 1
    exact = Ranking(prior={"one": figures(*(3 * sizes))}).ranks(goal, candidates_of(sizes.tolist()), [0.0] * 5)
    assert exact.prior_PN.tolist() == [[0.6] * 5]  # a figure that only tells the size ranks nobody


def test_figures_that_are_not_finite_rank_last_for_a_coefficient_too():
    ranking = Ranking(prior={"one": figures(-np.inf, 3.0, 4.0, -np.inf)})
    goal = Goal(coefficient=0.0, distribution=0)
    assert ranking.ranks(goal, candidates_of([1, 1, 1, 1]), [0.0] * 4).prior_PN.tolist() == [[0.875, 0.5, 0.25, 0.875]]


def test_of_few_images_the_smoothed_losses_rank_as_much_as_the_losses():
    space = nas_bench_macro_space(width_multiplier=0.5, image_size=16)
    rng = np.random.default_rng(0)
    rows = rng.permutation(np.unique(space.equivalence.canonical(space.search_space.enumerate()), axis=0))[:200]
    truth = rng.normal(size=(8, 3))[np.arange(8), rows].sum(axis=1)
    losses = truth + rng.normal(0, truth.std(), 200)
    candidates = candidates_of([50.0] * 200, list(map(tuple, rows.tolist())))
    ranking = Ranking(skips_DC=space.skips_DC)
    many, few = (ranking.ranks(BUDGET, candidates, losses.tolist(), few_images=few).combined_N for few in (False, True))
    assert many.tolist() == scaled_ranks(losses).tolist()
    taus = [stats.kendalltau(truth, each).statistic for each in (many, few)]
    assert taus[1] > taus[0] + 0.1
    unsmoothed = Ranking().ranks(BUDGET, candidates, losses.tolist(), few_images=True).combined_N
    assert unsmoothed.tolist() == many.tolist()
