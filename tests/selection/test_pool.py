from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from multinas_ray.errors import ConfigError
from multinas_ray.selection import slice_draws
from multinas_ray.selection.goals import Goal, goals_of_run
from multinas_ray.selection.outcome import SearchOutcome
from multinas_ray.selection.pool import candidates_for
from multinas_ray.spaces import (
    AdditiveCost,
    Equivalence,
    SearchSpace,
    Variable,
    imagenet_mobile_space,
    nas_bench_macro_space,
)
from tests.support.made_up_outcome import (
    ALL_DIFFER,
    COSTS,
    FLOPS,
    PARAMS,
    SMALL,
    SPACE,
    outcome_of,
    run_of,
    whole_space,
)
from tests.support.uneven_cost import Unevenness

NETWORKS = nas_bench_macro_space(width_multiplier=0.5, image_size=16)
CERTAIN = [[0.0, 0.0, 1.0], [0.0, 1.0], [0.0, 0.0, 1.0]]


def propose(outcome, goals, number, seed=0, share=0.1):
    return candidates_for(outcome, goals, number, share, np.random.default_rng(seed))


def by_origin(candidates, origin):
    return [each.architecture for each in candidates if each.origin == origin]


def outcome_of_networks(networks, recorded_ND, losses_N, probs_KDC=None, costs=None):
    """What a search of a network space has found: some canonical architectures with losses."""
    space = networks.search_space
    counts = np.array(space.num_categories)
    uniform = (np.arange(counts.max()) < counts[:, None]) / counts[:, None]
    return SearchOutcome(
        search_space=space,
        equivalence=networks.equivalence,
        costs=costs or networks.costs,
        complexity_name="flops",
        complexity_scale=networks.costs["flops"].maximum,
        probs_KDC=uniform[None] if probs_KDC is None else probs_KDC,
        architectures_AD=recorded_ND,
        losses_A=losses_N,
        ids_A=np.arange(len(recorded_ND)),
    )


@pytest.fixture(params=["listed", "drawn"])
def macro(request, monkeypatch):
    """A search of NAS-Bench-Macro's space that recorded 500 networks; small spaces are listed, large drawn from."""
    monkeypatch.setattr(slice_draws, "ENUMERABLE", 50_000 if request.param == "listed" else 0)
    rng = np.random.default_rng(3)
    rows = np.unique(NETWORKS.equivalence.canonical(NETWORKS.search_space.random(500, rng)), axis=0)
    return outcome_of_networks(NETWORKS, rows, rng.normal(2.0, 0.1, len(rows)))


def goals_at(*shares):
    most = NETWORKS.costs["flops"].maximum
    return [Goal(limits={"flops": share * most}) for share in shares]


def test_a_pool_has_so_many_different_networks_of_every_kind_within_the_limits(macro):
    for place, goal in enumerate(goals_at(0.45, 0.55, 0.7)):
        candidates = propose(macro, [goal], 300, seed=place)
        networks = [each.architecture for each in candidates]
        assert len(set(networks)) == len(networks) == 300
        assert macro.equivalence.canonical(networks).tolist() == list(map(list, networks))
        counts = Counter(each.origin for each in candidates)
        assert min(counts[kind] for kind in ("evaluated", "drawn", "mutated", "slice")) >= 70
        for each in candidates:
            share = each.costs["flops"] / goal.limits["flops"]
            assert share <= 1
            assert each.within_budget
            assert share > 0.9 or each.origin in ("mode", "evaluated")


def test_a_slice_with_fewer_networks_is_taken_whole_before_the_pool_goes_below(macro):
    goal, cost = goals_at(0.3)[0], NETWORKS.costs["flops"]
    rows = np.unique(macro.equivalence.canonical(NETWORKS.search_space.enumerate()), axis=0)
    shares = cost(rows) / goal.limits["flops"]
    inside = {tuple(row) for row in rows[(shares <= 1) & (shares > 0.98)].tolist()}
    below = {tuple(row) for row in rows[(shares <= 0.98) & (shares > 0.96)].tolist()}
    number = len(inside) + len(below) // 2
    empty = replace(macro, architectures_AD=rows[:0], losses_A=np.zeros(0), ids_A=np.zeros(0, dtype=np.int64))
    networks = {each.architecture for each in propose(empty, [goal], number, share=0.02) if each.origin != "mode"}
    assert inside <= networks <= inside | below
    assert len(networks) >= number - 1  # a mode may be among them


def test_a_budget_with_fewer_networks_than_wanted_gives_them_all(macro):
    rows = np.unique(macro.equivalence.canonical(NETWORKS.search_space.enumerate()), axis=0)
    limit = float(np.sort(NETWORKS.costs["flops"](rows))[40])
    candidates = propose(macro, [Goal(limits={"flops": limit})], 300)
    assert {each.architecture for each in candidates} == {
        tuple(row) for row in rows[NETWORKS.costs["flops"](rows) <= limit].tolist()
    }


def test_the_best_of_the_record_are_candidates_wherever_below_the_limit_they_lie(macro):
    goal = goals_at(0.6)[0]
    candidates = propose(macro, [goal], 40)
    evaluated = by_origin(candidates, "evaluated")
    assert evaluated == [tuple(row) for row in macro.best_evaluated(goal)[: len(evaluated)].tolist()]
    assert len(evaluated) == 10
    costs = NETWORKS.costs["flops"](np.array(evaluated)) / goal.limits["flops"]
    assert costs.min() < 0.9


def test_mutations_differ_from_one_of_the_best_in_two_blocks_at_most(macro):
    goal = goals_at(0.5)[0]
    candidates = propose(macro, [goal], 100)
    parents = np.array([each.architecture for each in candidates if each.origin in ("mode", "evaluated")])
    encodings = NETWORKS.search_space.enumerate()
    canonical = macro.equivalence.canonical(encodings)
    for row in by_origin(candidates, "mutated"):
        own = encodings[(canonical == row).all(axis=1)]  # a mutation is made of an encoding, and stands for its network
        assert (own[:, None] != parents).sum(axis=2).min() <= 2


def test_a_candidate_knows_its_costs_and_what_the_record_has_of_it():
    candidates = propose(outcome_of([((2, 1, 1), 0.25)]), [Goal(coefficient=0.0, distribution=0)], 3)
    (evaluated,) = [each for each in candidates if each.origin == "evaluated"]
    assert (evaluated.architecture, evaluated.evaluation_id, evaluated.recorded_loss) == ((2, 1, 1), 100, 0.25)
    assert evaluated.costs == {"params": 1121.0, "flops": 0.0}
    assert evaluated.complexity == pytest.approx(1121 / PARAMS.maximum)
    (mode,) = [each for each in candidates if each.origin == "mode"]
    assert (mode.evaluation_id, mode.recorded_loss) == (None, None)


def test_a_coefficients_candidates_lie_around_its_best():
    goals = goals_of_run(run_of([]))
    assert [(goal.coefficient, goal.distribution) for goal in goals] == [(0.0, 0), (0.5, 1)]
    # The loss falls with the size: by loss alone the largest are best, with 0.5 * complexity the smallest.
    outcome = outcome_of(whole_space(lambda row: 1.0 - 0.1 * float(PARAMS([row])[0]) / PARAMS.maximum))
    candidates = propose(outcome, goals, 10)
    large, small = ([each for each in candidates if each.goal == k] for k in range(2))
    assert by_origin(large, "mode") == [(2, 1, 2)]
    assert by_origin(large, "evaluated") == [(2, 1, 1), (2, 1, 0), (1, 1, 2)]
    assert by_origin(small, "mode") == [(0, 0, 0)]
    assert by_origin(small, "evaluated") == [(0, 0, 1), (0, 0, 2), (1, 0, 0)]
    for each in (large, small):
        assert [len(by_origin(each, kind)) for kind in ("drawn", "mutated")] == [3, 3]
        assert len({one.architecture for one in each}) == 10
        assert all(one.within_budget for one in each)


def test_a_small_space_gives_a_coefficient_all_its_networks():
    candidates = propose(outcome_of(whole_space()), [Goal(coefficient=0.5, distribution=1)], 300)
    assert {each.architecture for each in candidates} == {row for row, _ in whole_space()}


@pytest.mark.parametrize(
    ("number", "expected"), [(1, (1, 0, 0, 0, 0)), (2, (1, 1, 0, 0, 0)), (4, (1, 1, 1, 1, 0)), (10, (1, 3, 2, 2, 2))]
)
def test_what_the_modes_leave_is_shared_among_the_kinds(number, expected):
    macro = outcome_of_networks(NETWORKS, *_recorded())
    candidates = propose(macro, goals_at(0.9), number)
    kinds = ("mode", "evaluated", "drawn", "mutated", "slice")
    assert tuple(len(by_origin(candidates, kind)) for kind in kinds) == expected


def _recorded():
    rows = NETWORKS.equivalence.canonical(NETWORKS.search_space.random(200, np.random.default_rng(0)))
    rows = np.unique(rows, axis=0)
    return rows, np.arange(len(rows), dtype=np.float64)


def test_a_target_is_a_hard_limit_that_its_own_distribution_searched_for():
    run = run_of(whole_space())
    goals = goals_of_run(replace(run, config={**run.config, "targets": [1010.0, 1110.0]}))
    assert [(dict(goal.limits), goal.distribution, goal.coefficient) for goal in goals] == [
        ({"params": 1010.0}, 0, None),
        ({"params": 1110.0}, 1, None),
    ]
    for goal in goals:
        proposed = propose(SearchOutcome.of(run, SPACE, COSTS, ALL_DIFFER), [goal], 4)
        assert proposed
        assert all(each.within_budget and each.costs["params"] <= goal.limits["params"] for each in proposed)


def test_every_mode_within_the_limits_is_a_candidate_and_no_other():
    outcome = outcome_of([], probs=(CERTAIN, SMALL))
    candidates = propose(outcome, [Goal(limits={"params": 1022.0}, distribution=0)], 7)
    assert by_origin(candidates, "mode") == [(0, 0, 0)]
    assert by_origin(propose(outcome, [Goal(limits={"params": 1122.0})], 7), "mode") == [(2, 1, 2), (0, 0, 0)]


@pytest.mark.parametrize("cost", [PARAMS, FLOPS])
def test_if_any_architecture_of_the_space_keeps_a_limit_one_is_proposed(cost):
    """Distributions that draw the dearest alone, and a record of it alone: every limit of the range is met."""
    dearest = tuple(cost.argmax().tolist())
    one_hot = [np.eye(count)[choice].tolist() for count, choice in zip(cost.num_categories, dearest, strict=True)]
    outcome = outcome_of([(dearest, 0.1)], probs=(one_hot, one_hot))
    for limit in np.unique(cost(SPACE.enumerate())):
        candidates = propose(outcome, [Goal(limits={cost.name: limit})], 10)
        assert candidates
        assert all(each.within_budget and cost([each.architecture])[0] <= limit for each in candidates)


def test_of_several_limits_that_the_space_can_keep_hardly_any_are_missed(monkeypatch):
    """Two costs that pull apart, and limits at an architecture of 4,096 that as few as possible keep (40 spaces)."""
    monkeypatch.setattr(slice_draws, "ENUMERABLE", 0)
    rng, space = np.random.default_rng(5), SearchSpace(tuple(Variable(f"v{d}", (0, 1, 2, 3)) for d in range(6)))
    all_ND, found = space.enumerate(), []
    for _ in range(40):
        rows = rng.uniform(size=(6, 4))
        tables = {"params": rows, "flops": (1 - rows) * rng.uniform(0.3, 1.0, (6, 4))}
        costs = {name: AdditiveCost.from_rows(name, table.tolist(), base=1.0) for name, table in tables.items()}
        costs_N2 = np.stack([cost(all_ND) for cost in costs.values()], axis=1)
        limits_2 = min(rng.choice(costs_N2, 100), key=lambda limits: (costs_N2 <= limits).all(axis=1).sum())
        outcome = SearchOutcome(
            search_space=space,
            equivalence=Equivalence(space.num_categories, ()),
            costs=costs,
            complexity_name="params",
            complexity_scale=1.0,
            probs_KDC=np.eye(4)[rows.argmax(axis=1)][None],
            architectures_AD=all_ND[:0],
            losses_A=np.zeros(0),
            ids_A=np.zeros(0, dtype=np.int64),
        )
        proposed = propose(outcome, [Goal(limits=dict(zip(costs, limits_2.tolist(), strict=True)))], 1)
        found.append(any(each.within_budget for each in proposed))
    assert np.mean(found) >= 0.9


def test_limits_of_a_cost_that_is_no_sum_are_kept():
    uneven = Unevenness("unevenness", SPACE.num_categories)
    outcome = replace(outcome_of([((2, 0, 2), 0.1)]), costs={**COSTS, "unevenness": uneven})
    for limits in ({"unevenness": 1.0}, {"unevenness": 0.0}, {"unevenness": 0.0, "params": 1000.0}):
        candidates = propose(outcome, [Goal(limits=limits)], 12)
        assert candidates
        assert all(uneven([each.architecture])[0] <= limits["unevenness"] for each in candidates)
        assert all(each.within_budget for each in candidates)


def test_where_nothing_keeps_the_limits_the_nearest_found_is_proposed_to_be_named():
    limits = {"params": 1002.0, "flops": 0.0}  # (1, 1, 0) has 1110 and 0, (0, 0, 0) has 1000 and 8
    outcome = outcome_of([((2, 1, 2), 0.1)], probs=(CERTAIN, CERTAIN))
    candidates = propose(outcome, [Goal(limits=limits)], 10)
    assert by_origin(candidates, "mode") == [(2, 1, 2)]
    assert len(by_origin(candidates, "cheapest")) == len(candidates) - 1 >= 1
    assert not any(each.within_budget for each in candidates)
    excess = {row: max((float(PARAMS([row])[0]) - 1002) / 1002, float(FLOPS([row])[0])) for row, _ in whole_space()}
    assert min(excess[each.architecture] for each in candidates) == min(excess.values())


def test_equal_seeds_give_equal_candidates(macro):
    goals = goals_at(0.4)
    assert propose(macro, goals, 50) == propose(macro, goals, 50)
    assert propose(macro, goals, 50) != propose(macro, goals, 50, seed=1)


@pytest.mark.parametrize("collapsed", [False, True])
def test_a_space_of_1e17_has_full_pools_for_two_limits(collapsed):
    networks = imagenet_mobile_space()
    assert networks.search_space.num_architectures > 1e16
    flops, params = networks.costs["flops"], networks.costs["params"]
    rows = networks.equivalence.canonical(networks.search_space.random(2000, np.random.default_rng(0)))
    rows = np.unique(rows, axis=0)
    probs = None
    if collapsed:
        probs = np.zeros((1, *flops.table.shape))
        probs[0, np.arange(len(rows[0])), rows[0]] = 1.0
    outcome = outcome_of_networks(networks, rows, np.random.default_rng(1).random(len(rows)), probs)
    limits = {"flops": float(np.median(flops(rows))), "params": float(np.quantile(params(rows), 0.6))}
    for goal in (Goal(limits={"flops": limits["flops"]}), Goal(limits=limits)):
        candidates = propose(outcome, [goal], 300)
        assert len({each.architecture for each in candidates}) == 300
        assert min(Counter(each.origin for each in candidates)[kind] for kind in ("drawn", "mutated", "slice")) >= 70
        assert all(each.costs[name] <= limit for each in candidates for name, limit in goal.limits.items())


@pytest.mark.parametrize(
    ("number", "share", "message"),
    [
        (0, 0.1, "candidates_per_network must be at least 1, got 0"),
        (1, 0.0, "slice_share must be above 0 and at most 1, got 0"),
        (1, 1.5, "slice_share must be above 0 and at most 1, got 1.5"),
    ],
)
def test_bad_arguments_are_told(number, share, message):
    with pytest.raises(ConfigError, match=message):
        propose(outcome_of([]), [Goal(coefficient=0.0, distribution=0)], number, share=share)
