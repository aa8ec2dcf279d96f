import math

import numpy as np
import pytest

from multinas_ray.selection.choice import choose
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.pool import Candidate
from multinas_ray.selection.ranking import Ranking
from multinas_ray.selection.scores import Score

BOTH = {"params": 20_000.0, "flops": 300.0}


def candidate(architecture, params, *, goal=0, origin="evaluated", limits=None, flops=100.0):
    costs = {"params": float(params), "flops": float(flops)}
    return Candidate(
        goal=goal,
        origin=origin,
        architecture=architecture,
        costs=costs,
        complexity=params / 100_000,
        evaluation_id=None,
        recorded_loss=None,
        within_budget=all(costs[name] <= limit for name, limit in (limits or {}).items()),
    )


def results(**losses):
    """Loss (and an accuracy) by the architecture's only index: a0=0.5 is that of (0,)."""
    return {(int(name[1:]),): Score(loss, 0.9) for name, loss in losses.items()}


def reasons(family):
    return [each.reason for each in family.choices]


def test_the_least_weighted_sum_is_chosen_and_the_others_say_how_far_they_are():
    goal = Goal(coefficient=0.5, distribution=0)
    candidates = [candidate((0,), 10_000, origin="mode"), candidate((1,), 50_000), candidate((2,), 90_000)]
    family = choose(candidates, [goal], results(a0=0.40, a1=0.10, a2=0.05))
    (network,) = family.networks
    assert network.candidate.architecture == (1,)
    assert [each.objective for each in family.choices] == pytest.approx([0.45, 0.35, 0.50])
    assert [each.score.loss for each in family.choices] == [0.40, 0.10, 0.05]
    assert reasons(family) == [
        "its objective is 0.1000 higher than that of the chosen one",
        "chosen: it has the least loss + 0.5 * complexity",
        "its objective is 0.1500 higher than that of the chosen one",
    ]
    assert [each.combined_rank for each in family.choices] == pytest.approx([2 / 3, 1 / 3, 1.0])
    assert family.unmet == []


def test_a_budget_is_never_exceeded_whatever_the_loss():
    goal = Goal(limits={"params": 20_000.0})
    candidates = [
        candidate((0,), 20_001, origin="mode", limits=goal.limits),
        candidate((1,), 20_000, limits=goal.limits),
        candidate((2,), 10_000, limits=goal.limits),
    ]
    family = choose(candidates, [goal], results(a0=0.001, a1=0.3, a2=0.4123))
    assert [each.candidate.architecture for each in family.networks] == [(1,)]
    assert reasons(family) == [
        "it exceeds the budget: params 20001 > 20000",  # in short both are 20 k
        "chosen: it has the least validation loss within params <= 20 k",
        "its loss is 0.1123 higher than that of the chosen one",
    ]
    assert [each.combined_rank for each in family.choices] == [None, 0.5, 1.0]  # among those that may be chosen


def test_all_limits_are_to_be_kept():
    goal = Goal(limits=BOTH)
    candidates = [
        candidate((0,), 30_000, flops=900, limits=BOTH),
        candidate((1,), 10_000, flops=301, limits=BOTH),
        candidate((2,), 20_000, flops=300, limits=BOTH),
    ]
    family = choose(candidates, [goal], results(a0=0.1, a1=0.2, a2=0.9))
    assert [each.candidate.architecture for each in family.networks] == [(2,)]
    assert reasons(family) == [
        "it exceeds the budget: params 30 k > 20 k, flops 900 > 300",
        "it exceeds the budget: flops 301 > 300",
        "chosen: it has the least validation loss within params <= 20 k, flops <= 300",
    ]


def test_where_nobody_keeps_a_budget_the_nearest_is_named_and_there_is_no_network():
    goal = Goal(limits=BOTH)
    candidates = [
        candidate((0,), 22_000, flops=600, limits=BOTH),  # 2 times the flops
        candidate((1,), 26_000, flops=200, limits=BOTH),  # 1.3 times the params: the nearest
        candidate((2,), 26_000, flops=200, limits=BOTH),  # as near, a higher loss
    ]
    family = choose(candidates, [goal], results(a0=0.1, a1=0.2, a2=0.3))
    assert family.networks == []
    assert not any(each.is_chosen for each in family.choices)
    assert all(reason.startswith("it exceeds the budget: ") for reason in reasons(family))
    assert family.unmet == [
        "no candidate is within params <= 20 k, flops <= 300; the nearest has params 26 k, flops 200, loss 0.2000"
    ]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_never_chosen(loss):
    goal = Goal(coefficient=0.0, distribution=0)
    candidates = [candidate((0,), 1000, origin="mode"), candidate((1,), 9000)]
    family = choose(candidates, [goal], results(a0=loss, a1=7.0))
    assert [each.candidate.architecture for each in family.networks] == [(1,)]
    assert reasons(family) == ["its loss is not finite", "chosen: it has the least validation loss"]
    family = choose(candidates, [goal], results(a0=loss, a1=loss))
    assert family.networks == []
    assert family.unmet == ["no candidate has a finite loss"]


def test_of_equal_objectives_the_smaller_wins_then_the_first():
    goal = Goal(coefficient=0.0, distribution=0)
    candidates = [
        candidate((0,), 9000, origin="mode"),
        candidate((1,), 1000),
        candidate((2,), 1000, origin="drawn"),
    ]
    family = choose(candidates, [goal], results(a0=0.5, a1=0.5, a2=0.5))
    assert [each.candidate.architecture for each in family.networks] == [(1,)]
    assert reasons(family) == [
        "its loss equals that of the chosen one, which is smaller",
        "chosen: it has the least validation loss",
        "its loss and size equal those of the chosen one, which came first",
    ]


def test_networks_are_numbered_from_small_to_large_and_their_candidates_with_them():
    goals = [Goal(coefficient=0.0, distribution=0), Goal(coefficient=1.0, distribution=1), Goal(limits={"params": 5.0})]
    candidates = [
        candidate((0,), 90_000, goal=0),
        candidate((1,), 10_000, goal=1),
        candidate((2,), 50_000, goal=2, limits=goals[2].limits),
    ]
    family = choose(candidates, goals, results(a0=0.1, a1=0.2, a2=0.3))
    assert [(each.network, each.candidate.architecture) for each in family.networks] == [(0, (1,)), (1, (0,))]
    assert [(each.network, each.candidate.architecture) for each in family.choices] == [(0, (1,)), (1, (0,)), (2, (2,))]
    assert family.goals == [goals[1], goals[0], goals[2]]
    assert len(family.unmet) == 1


def test_equal_networks_come_by_falling_coefficient():
    goals = [Goal(coefficient=eps, distribution=k) for k, eps in enumerate((0.0, 0.1, 0.3))]
    candidates = [candidate((0,), 100, goal=k, origin="mode") for k in range(3)]
    family = choose(candidates, goals, results(a0=0.1))
    assert [goal.coefficient for goal in family.goals] == [0.3, 0.1, 0.0]
    assert [each.network for each in family.networks] == [0, 1, 2]


def test_each_goal_has_its_own_candidates_alone():
    goals = [Goal(limits={"params": 50_000.0}), Goal(limits={"params": 10_000.0})]
    candidates = [
        candidate((0,), 49_000, goal=0, limits=goals[0].limits),
        candidate((1,), 9_000, goal=1, limits=goals[1].limits),
    ]
    family = choose(candidates, goals, results(a0=0.3, a1=0.2))
    assert [each.candidate.architecture for each in family.networks] == [(1,), (0,)]
    assert len(family.choices) == 2


LIMIT = {"params": 20_000.0}


def prior(*figures):
    """Figures of the architectures (0,), (1,) and so on."""
    return {(place,): float(figure) for place, figure in enumerate(figures)}


def chosen_within_limits(losses, ranking=None, sizes=None, parts=None):
    """The choice among networks with these losses, each the only index of its architecture."""
    sizes = sizes or [19_000 + place for place in range(len(losses))]
    candidates = [candidate((place,), size, limits=LIMIT) for place, size in enumerate(sizes)]
    part_losses = parts or [()] * len(losses)
    scores: dict[tuple[int, ...], Score] = {
        (n,): Score(loss, 0.8, parts) for n, (loss, parts) in enumerate(zip(losses, part_losses, strict=True))
    }
    return choose(candidates, [Goal(limits=LIMIT)], scores, ranking)


def test_loss_and_prior_choose_together_and_the_reasons_tell_both():
    ranking = Ranking(prior={"depth": prior(1, 3, 4, 2), "naswot": prior(10, 30, 20, 40)})
    spread = (0.1, -0.1) * 10  # of the difference from the chosen one: its standard error is 0.0229
    parts = [(0.5,) * 20, (0.52,) * 20, tuple(0.53 + each for each in spread), (0.9,) * 20]
    family = chosen_within_limits([0.50, 0.52, 0.53, 0.90], ranking, parts=parts)
    # loss 1 2 3 4, depth 4 2 1 3, naswot 4 2 3 1: 9, 6, 7 and 8 of 12
    assert [each.combined_rank for each in family.choices] == pytest.approx([9 / 12, 6 / 12, 7 / 12, 8 / 12])
    assert reasons(family) == [
        "its combined rank is 0.750: its loss is 0.0200 lower than that of the chosen one, and it is number 4 by "
        "depth, 4 by naswot",
        "chosen: it has the least combined rank within params <= 20 k, 0.500: of 4 it is number 2 by its loss, and "
        "number 2 by depth, 2 by naswot",
        "its combined rank is 0.583: its loss is 0.0100 higher than that of the chosen one (standard error 0.0229), "
        "and it is number 1 by depth, 3 by naswot",
        "its combined rank is 0.667: its loss is 0.3800 higher than that of the chosen one, and it is number 3 by "
        "depth, 1 by naswot",
    ]


def test_of_equal_combined_ranks_the_least_loss_wins():
    family = chosen_within_limits([0.3, 0.1, 0.2], Ranking(prior={"depth": prior(3, 1, 2)}))
    assert [each.combined_rank for each in family.choices] == pytest.approx([4 / 6] * 3)
    assert [each.candidate.architecture for each in family.networks] == [(1,)]
    assert reasons(family)[0] == (
        "its loss is 0.2000 higher than that of the chosen one; their combined ranks are equal"
    )


def test_a_candidate_above_a_limit_or_without_a_loss_counts_in_no_rank():
    ranking = Ranking(prior={"depth": prior(9, 1, 2, 8)})
    family = chosen_within_limits([0.01, 0.2, 0.3, math.nan], ranking, sizes=[30_000, 19_000, 19_500, 19_700])
    assert [each.combined_rank for each in family.choices] == [None, 0.75, 0.75, None]
    assert [each.candidate.architecture for each in family.networks] == [(1,)]


def test_nothing_that_is_worse_in_everything_is_ever_chosen():
    rng = np.random.default_rng(0)
    for _ in range(50):
        losses, depths, figures = rng.random(12), rng.integers(0, 4, 12), rng.random(12)
        ranking = Ranking(prior={"depth": prior(*depths), "naswot": prior(*figures)}, weight=float(rng.random()))
        ((n,),) = [each.candidate.architecture for each in chosen_within_limits(losses.tolist(), ranking).networks]
        assert not ((losses < losses[n]) & (depths > depths[n]) & (figures > figures[n])).any()


def test_without_a_prior_the_least_loss_is_chosen_however_near_another():
    parts = [0.1 * part for part in range(20)]  # images of very different difficulty, the same for both
    part_losses = [tuple(parts), tuple(each + 0.0001 * (1 + n % 2) for n, each in enumerate(parts))]
    family = chosen_within_limits([0.95, 0.95015], parts=part_losses)
    assert [each.candidate.architecture for each in family.networks] == [(0,)]
    assert reasons(family)[1] == ("its loss is 0.0002 higher than that of the chosen one (standard error 0.0000)")


def test_a_coefficient_says_what_size_is_worth_and_the_prior_what_lies_beyond_it():
    """Both figures rise with the size; less that, the first is best by both and its objective is second."""
    goal = Goal(coefficient=1.0, distribution=0)
    candidates = [candidate((place,), size) for place, size in enumerate([10_000, 20_000, 30_000])]
    scores: dict[tuple[int, ...], Score] = {(n,): Score(loss, 0.8) for n, loss in enumerate([0.42, 0.30, 0.30])}
    (network,) = choose(candidates, [goal], scores).networks
    assert network.candidate.architecture == (1,)  # 0.52, 0.50, 0.60
    ranking = Ranking(prior={"depth": prior(12, 20, 31), "naswot": prior(102, 201, 301)})
    (network,) = choose(candidates, [goal], scores, ranking).networks
    assert network.candidate.architecture == (0,)
