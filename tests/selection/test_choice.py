import math

import pytest

from multinas_ray.selection.choice import choose
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.pool import Candidate
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
        "no candidate is within params <= 20 k, flops <= 300; the nearest has params 26 k, flops 200, loss 0.2000, "
        "accuracy 90.00%"
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


def test_the_candidates_of_one_network_compete_for_the_others_too_within_their_limits():
    goals = [Goal(limits={"params": 50_000.0}), Goal(limits={"params": 10_000.0})]
    candidates = [
        candidate((0,), 40_000, goal=0, limits=goals[0].limits),
        candidate((1,), 9_000, goal=1, limits=goals[1].limits, origin="drawn"),
    ]
    family = choose(candidates, goals, results(a0=0.3, a1=0.2))
    assert [(each.candidate.architecture, each.candidate.origin) for each in family.networks] == [((1,), "drawn")] * 2
    assert [(each.network, each.candidate.architecture, each.is_chosen) for each in family.choices] == [
        (0, (0,), False),
        (0, (1,), True),
        (1, (1,), True),
    ]
    family = choose(candidates, goals, results(a0=0.1, a1=0.2))  # (0,) is too large for the other
    assert [each.candidate.architecture for each in family.networks] == [(1,), (0,)]
    assert len(family.choices) == 2


def test_a_candidate_of_its_own_wins_over_an_equal_one_of_another_network():
    goals = [Goal(coefficient=0.0, distribution=0), Goal(coefficient=0.0, distribution=1)]
    candidates = [candidate((0,), 100, goal=0), candidate((1,), 100, goal=1)]
    family = choose(candidates, goals, results(a0=0.5, a1=0.5))
    assert sorted(each.candidate.architecture for each in family.networks) == [(0,), (1,)]
    assert len(family.choices) == 2


LIMIT = {"params": 20_000.0}


def chosen_within_limits(scores, sizes):
    """The choice among networks of these sizes, each the only index of its architecture."""
    candidates = [candidate((place,), size, limits=LIMIT) for place, size in enumerate(sizes)]
    return choose(candidates, [Goal(limits=LIMIT)], {(place,): score for place, score in enumerate(scores)})


def test_within_a_limit_the_nearest_to_it_not_told_from_the_best_is_chosen():
    spread = (0.1, -0.1) * 10  # of the difference from the best: its standard error is 0.0229
    best = Score(0.500, 0.8, (0.5,) * 20)
    near = Score(0.522, 0.8, tuple(0.522 + each for each in spread))
    far = Score(0.524, 0.8, tuple(0.524 + each for each in spread))
    above = Score(0.400, 0.9, (0.4,) * 20)
    family = chosen_within_limits([best, near, far, above], [10_000, 12_000, 15_000, 20_001])
    assert [each.candidate.architecture for each in family.networks] == [(1,)]
    assert reasons(family) == [
        "its loss is 0.0220 lower than that of the chosen one, which is too little to tell them apart, and it is "
        "further below the limit",
        "chosen: it is the nearest to the limit among those that the validation images cannot tell from the one of "
        "least validation loss within params <= 20 k (its loss is 0.0220 higher, with a standard error of 0.0229)",
        "its loss is 0.0020 higher than that of the chosen one",
        "it exceeds the budget: params 20001 > 20000",
    ]


def test_nothing_larger_and_better_than_the_chosen_one_is_left():
    """Though its own difference from the best is certain: who is as good as the best is better than the chosen one."""
    spread = (0.1, -0.1) * 10
    best, certain = Score(0.50, 0.8, (0.50,) * 20), Score(0.51, 0.8, (0.51,) * 20)
    unsure = Score(0.52, 0.8, tuple(0.52 + each for each in spread))
    family = chosen_within_limits([best, unsure, certain], [10_000, 12_000, 15_000])
    assert [each.candidate.architecture for each in family.networks] == [(2,)]


def test_the_limit_that_is_given_is_the_one_whose_room_is_used():
    limits = {"flops": 300.0}
    candidates = [
        candidate((0,), 90_000, flops=100, limits=limits),
        candidate((1,), 10_000, flops=290, limits=limits),
    ]
    scores: dict[tuple[int, ...], Score] = {(0,): Score(0.5, 0.8), (1,): Score(0.5, 0.8)}
    assert choose(candidates, [Goal(limits=limits)], scores).networks[0].candidate.architecture == (1,)


def test_losses_that_differ_alike_on_all_parts_are_told_apart_however_near():
    parts = [0.1 * part for part in range(20)]  # images of very different difficulty, the same for both
    scores = [Score(0.95, 0.8, tuple(parts)), Score(0.9501, 0.8, tuple(each + 0.0001 for each in parts))]
    family = chosen_within_limits(scores, [10_000, 20_000])
    assert [each.candidate.architecture for each in family.networks] == [(0,)]


def test_without_parts_only_equal_losses_are_not_told_apart():
    family = chosen_within_limits([Score(0.5, 0.8), Score(0.5, 0.8), Score(0.5001, 0.8)], [10_000, 15_000, 20_000])
    assert [each.candidate.architecture for each in family.networks] == [(1,)]
    assert reasons(family) == [
        "its loss equals that of the chosen one, which is nearer to the limit",
        "chosen: it has the least validation loss within params <= 20 k",
        "its loss is 0.0001 higher than that of the chosen one",
    ]


def test_a_coefficient_says_what_size_is_worth():
    spread = (0.1, -0.1) * 10
    large = Score(0.501, 0.8, tuple(0.501 + each for each in spread))
    scores: dict[tuple[int, ...], Score] = {(0,): Score(0.5, 0.8, (0.5,) * 20), (1,): large}
    candidates = [candidate((0,), 10_000), candidate((1,), 12_000)]
    (network,) = choose(candidates, [Goal(coefficient=0.0, distribution=0)], scores).networks
    assert network.candidate.architecture == (0,)
