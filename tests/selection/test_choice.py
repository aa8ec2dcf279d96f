import math

import pytest

from multinas_ray.selection.choice import choose
from multinas_ray.selection.pool import Candidate, Goal
from multinas_ray.selection.scores import Score

BOTH = {"params": 20_000.0, "flops": 300.0}


def candidate(architecture, params, *, network=0, origin="evaluated", limits=None, flops=100.0):
    costs = {"params": float(params), "flops": float(flops)}
    return Candidate(
        network=network,
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


def reasons(choice):
    return [each.reason for each in choice.candidates]


def test_the_least_weighted_sum_is_chosen_and_the_others_say_how_far_they_are():
    goal = Goal(coefficient=0.5, distribution=0)
    candidates = [candidate((0,), 10_000, origin="mode"), candidate((1,), 50_000), candidate((2,), 90_000)]
    choice = choose(candidates, [goal], results(a0=0.40, a1=0.10, a2=0.05))
    (network,) = choice.networks
    assert network.architecture == (1,)
    assert [each.objective for each in choice.candidates] == pytest.approx([0.45, 0.35, 0.50])
    assert [each.loss for each in choice.candidates] == [0.40, 0.10, 0.05]
    assert reasons(choice) == [
        "objective 0.1000 above the chosen one's",
        "chosen: least loss + 0.5 * complexity",
        "objective 0.1500 above the chosen one's",
    ]
    assert choice.unmet == []


def test_a_budget_is_never_exceeded_whatever_the_loss():
    goal = Goal(limits={"params": 20_000.0})
    candidates = [
        candidate((0,), 20_001, origin="mode", limits=goal.limits),
        candidate((1,), 20_000, limits=goal.limits),
        candidate((2,), 10_000, limits=goal.limits),
    ]
    choice = choose(candidates, [goal], results(a0=0.001, a1=0.3, a2=0.4123))
    assert [each.architecture for each in choice.networks] == [(1,)]
    assert reasons(choice) == [
        "over budget: params 20001 > 20000",  # in short both are 20 k
        "chosen: least validation loss within params <= 20 k",
        "loss 0.1123 above the chosen one's",
    ]


def test_all_limits_are_to_be_kept():
    goal = Goal(limits=BOTH)
    candidates = [
        candidate((0,), 30_000, flops=900, limits=BOTH),
        candidate((1,), 10_000, flops=301, limits=BOTH),
        candidate((2,), 20_000, flops=300, limits=BOTH),
    ]
    choice = choose(candidates, [goal], results(a0=0.1, a1=0.2, a2=0.9))
    assert [each.architecture for each in choice.networks] == [(2,)]
    assert reasons(choice) == [
        "over budget: params 30 k > 20 k, flops 900 > 300",
        "over budget: flops 301 > 300",
        "chosen: least validation loss within params <= 20 k, flops <= 300",
    ]


def test_where_nobody_keeps_a_budget_the_nearest_is_named_and_there_is_no_network():
    goal = Goal(limits=BOTH)
    candidates = [
        candidate((0,), 22_000, flops=600, limits=BOTH),  # 2 times the flops
        candidate((1,), 26_000, flops=200, limits=BOTH),  # 1.3 times the params: the nearest
        candidate((2,), 26_000, flops=200, limits=BOTH),  # as near, a higher loss
    ]
    choice = choose(candidates, [goal], results(a0=0.1, a1=0.2, a2=0.3))
    assert choice.networks == []
    assert not any(each.chosen for each in choice.candidates)
    assert all(reason.startswith("over budget: ") for reason in reasons(choice))
    assert choice.unmet == [
        "no candidate is within params <= 20 k, flops <= 300; the nearest has params 26 k, flops 200, loss 0.2000, "
        "accuracy 90.00%"
    ]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_never_chosen(loss):
    goal = Goal(coefficient=0.0, distribution=0)
    candidates = [candidate((0,), 1000, origin="mode"), candidate((1,), 9000)]
    choice = choose(candidates, [goal], results(a0=loss, a1=7.0))
    assert [each.architecture for each in choice.networks] == [(1,)]
    assert reasons(choice) == ["its loss is not finite", "chosen: least validation loss"]
    choice = choose(candidates, [goal], results(a0=loss, a1=loss))
    assert choice.networks == []
    assert choice.unmet == ["no candidate has a finite loss"]


def test_of_equal_objectives_the_smaller_wins_then_the_first():
    goal = Goal(coefficient=0.0, distribution=0)
    candidates = [
        candidate((0,), 9000, origin="mode"),
        candidate((1,), 1000),
        candidate((2,), 1000, origin="drawn"),
    ]
    choice = choose(candidates, [goal], results(a0=0.5, a1=0.5, a2=0.5))
    assert [each.architecture for each in choice.networks] == [(1,)]
    assert reasons(choice) == [
        "loss equal to the chosen one's, which is smaller",
        "chosen: least validation loss",
        "loss and size equal to the chosen one's, which came first",
    ]


def test_networks_are_numbered_from_small_to_large_and_their_candidates_with_them():
    goals = [Goal(coefficient=0.0, distribution=0), Goal(coefficient=1.0, distribution=1), Goal(limits={"params": 5.0})]
    candidates = [
        candidate((0,), 90_000, network=0),
        candidate((1,), 10_000, network=1),
        candidate((2,), 50_000, network=2, limits=goals[2].limits),
    ]
    choice = choose(candidates, goals, results(a0=0.1, a1=0.2, a2=0.3))
    assert [(each.network, each.architecture) for each in choice.networks] == [(0, (1,)), (1, (0,))]
    assert [(each.network, each.architecture) for each in choice.candidates] == [(0, (1,)), (1, (0,)), (2, (2,))]
    assert choice.goals == [goals[1], goals[0], goals[2]]
    assert len(choice.unmet) == 1


def test_equal_networks_come_by_falling_coefficient():
    goals = [Goal(coefficient=eps, distribution=k) for k, eps in enumerate((0.0, 0.1, 0.3))]
    candidates = [candidate((0,), 100, network=k, origin="mode") for k in range(3)]
    choice = choose(candidates, goals, results(a0=0.1))
    assert [goal.coefficient for goal in choice.goals] == [0.3, 0.1, 0.0]
    assert [each.network for each in choice.networks] == [0, 1, 2]


def test_the_candidates_of_one_network_compete_for_the_others_too_within_their_limits():
    goals = [Goal(limits={"params": 50_000.0}), Goal(limits={"params": 10_000.0})]
    candidates = [
        candidate((0,), 40_000, network=0, limits=goals[0].limits),
        candidate((1,), 9_000, network=1, limits=goals[1].limits, origin="drawn"),
    ]
    choice = choose(candidates, goals, results(a0=0.3, a1=0.2))
    assert [(each.architecture, each.origin) for each in choice.networks] == [((1,), "drawn")] * 2
    assert [(each.network, each.architecture, each.chosen) for each in choice.candidates] == [
        (0, (0,), False),
        (0, (1,), True),
        (1, (1,), True),
    ]
    choice = choose(candidates, goals, results(a0=0.1, a1=0.2))  # (0,) is too large for the other
    assert [each.architecture for each in choice.networks] == [(1,), (0,)]
    assert len(choice.candidates) == 2


def test_a_candidate_of_its_own_wins_over_an_equal_one_of_another_network():
    goals = [Goal(coefficient=0.0, distribution=0), Goal(coefficient=0.0, distribution=1)]
    candidates = [candidate((0,), 100, network=0), candidate((1,), 100, network=1)]
    choice = choose(candidates, goals, results(a0=0.5, a1=0.5))
    assert sorted(each.architecture for each in choice.networks) == [(0,), (1,)]
    assert len(choice.candidates) == 2


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
    choice = chosen_within_limits([best, near, far, above], [10_000, 12_000, 15_000, 20_001])
    assert [each.architecture for each in choice.networks] == [(1,)]
    assert reasons(choice) == [
        "loss 0.0220 below the chosen one's, too little to tell, and further below the limit",
        "chosen: nearest to the limit of those not told from the least validation loss within params <= 20 k "
        "(loss 0.0220 above it, standard error 0.0229)",
        "loss 0.0020 above the chosen one's",
        "over budget: params 20001 > 20000",
    ]


def test_nothing_larger_and_better_than_the_chosen_one_is_left():
    """Though its own difference from the best is certain: who is as good as the best is better than the chosen one."""
    spread = (0.1, -0.1) * 10
    best, certain = Score(0.50, 0.8, (0.50,) * 20), Score(0.51, 0.8, (0.51,) * 20)
    unsure = Score(0.52, 0.8, tuple(0.52 + each for each in spread))
    choice = chosen_within_limits([best, unsure, certain], [10_000, 12_000, 15_000])
    assert [each.architecture for each in choice.networks] == [(2,)]


def test_the_limit_that_is_given_is_the_one_whose_room_is_used():
    limits = {"flops": 300.0}
    candidates = [
        candidate((0,), 90_000, flops=100, limits=limits),
        candidate((1,), 10_000, flops=290, limits=limits),
    ]
    scores = {(0,): Score(0.5, 0.8), (1,): Score(0.5, 0.8)}
    assert choose(candidates, [Goal(limits=limits)], scores).networks[0].architecture == (1,)


def test_losses_that_differ_alike_on_all_parts_are_told_apart_however_near():
    parts = [0.1 * part for part in range(20)]  # images of very different difficulty, the same for both
    scores = [Score(0.95, 0.8, tuple(parts)), Score(0.9501, 0.8, tuple(each + 0.0001 for each in parts))]
    choice = chosen_within_limits(scores, [10_000, 20_000])
    assert [each.architecture for each in choice.networks] == [(0,)]


def test_without_parts_only_equal_losses_are_not_told_apart():
    choice = chosen_within_limits([Score(0.5, 0.8), Score(0.5, 0.8), Score(0.5001, 0.8)], [10_000, 15_000, 20_000])
    assert [each.architecture for each in choice.networks] == [(1,)]
    assert reasons(choice) == [
        "loss equal to the chosen one's, which is nearer to the limit",
        "chosen: least validation loss within params <= 20 k",
        "loss 0.0001 above the chosen one's",
    ]


def test_a_coefficient_says_what_size_is_worth():
    spread = (0.1, -0.1) * 10
    scores = {(0,): Score(0.5, 0.8, (0.5,) * 20), (1,): Score(0.501, 0.8, tuple(0.501 + each for each in spread))}
    candidates = [candidate((0,), 10_000), candidate((1,), 12_000)]
    (network,) = choose(candidates, [Goal(coefficient=0.0, distribution=0)], scores).networks
    assert network.architecture == (0,)
