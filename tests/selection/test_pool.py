from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import Run
from multinas_ray.selection import pool as pool_module
from multinas_ray.selection.goals import Goal, goals_of_run
from multinas_ray.selection.pool import SearchOutcome
from multinas_ray.spaces import AdditiveCost, SearchSpace, Variable
from tests.support.uneven_cost import Unevenness

SPACE = SearchSpace((Variable("a", (0, 1, 2)), Variable("b", (0, 1)), Variable("c", (0, 1, 2))))
PARAMS = AdditiveCost.from_rows("params", [[0, 10, 20], [0, 100], [0, 1, 2]], base=1000.0)
FLOPS = AdditiveCost.from_rows("flops", [[7, 0, 0], [1, 0], [0, 0, 3]])
COSTS = {"params": PARAMS, "flops": FLOPS}
SMALL = [[0.8, 0.1, 0.1], [0.9, 0.1], [0.8, 0.1, 0.1]]
LARGE = [[0.1, 0.1, 0.8], [0.1, 0.9], [0.1, 0.1, 0.8]]


def run_of(evaluations, *, probs=(LARGE, SMALL), while_training=False):
    """A run of (architecture, loss) in tell order, with ids from 100, and two distributions at update 7."""
    count = len(evaluations)
    older = [[[0.4, 0.3, 0.3], [0.5, 0.5], [0.4, 0.3, 0.3]]] * len(probs)
    return Run(
        path="somewhere",
        config={
            "plan": {"train_during_search": while_training},
            "optimizer": {"coefficients": [0.0, 0.5]},
            "complexity": {"name": "params", "scale": PARAMS.maximum},
        },
        evaluations=pd.DataFrame(
            {
                "id": np.arange(100, 100 + count),
                "tell_order": np.arange(count),
                "architecture": pd.Series([architecture for architecture, _ in evaluations], dtype=object),
                "loss": [loss for _, loss in evaluations],
            }
        ),
        distributions=pd.DataFrame(
            {
                "update": [6] * len(probs) + [7] * len(probs),
                "distribution": [*range(len(probs)), *range(len(probs))][::-1],
                "probs": [*older, *probs[::-1]],
            }
        ),
        rounds=pd.DataFrame(),
        architectures=pd.DataFrame(),
        finished=None,
    )


def outcome_of(evaluations, **changes):
    return SearchOutcome.of(run_of(evaluations, **changes), SPACE, COSTS)


def whole_space(loss=lambda row: 1.0):
    return [(tuple(row), loss(row)) for row in SPACE.enumerate().tolist()]


def propose(outcome, goals, number, seed=0):
    return outcome.candidates_for(goals, number, np.random.default_rng(seed))


def by_origin(candidates, origin):
    return [each.architecture for each in candidates if each.origin == origin]


def recorded(outcome):
    rows = zip(outcome.architectures_AD.tolist(), outcome.losses_A, outcome.ids_A, strict=True)
    return {tuple(row): (loss, number) for row, loss, number in rows}


def test_the_newest_distributions_are_read_in_their_order():
    outcome = outcome_of(whole_space())
    np.testing.assert_array_equal(outcome.probs_KDC[0, 0], LARGE[0])
    np.testing.assert_array_equal(outcome.probs_KDC[1, 1], [*SMALL[1], 0.0])


def test_a_repeated_architecture_counts_once_with_its_mean_loss_and_newest_evaluation():
    outcome = outcome_of([((0, 0, 0), 0.5), ((1, 0, 0), 0.7), ((0, 0, 0), 0.3), ((0, 0, 0), np.inf)])
    assert recorded(outcome) == {(0, 0, 0): (pytest.approx(0.4), 102), (1, 0, 0): (0.7, 101)}


def test_while_weights_train_only_the_newest_part_counts_where_there_is_one():
    rows = [((0, 0, 0), 9.0), ((1, 0, 0), 8.0), *[((2, 0, 0), 5.0)] * 6, ((0, 0, 0), 2.0), ((0, 0, 0), 1.0)]
    assert recorded(outcome_of(rows, while_training=True)) == {
        (0, 0, 0): (1.5, 109),
        (1, 0, 0): (8.0, 101),  # evaluated long ago only
        (2, 0, 0): (5.0, 107),
    }
    assert recorded(outcome_of(rows, while_training=False))[0, 0, 0][0] == pytest.approx(4.0)


def test_nothing_recorded_yet_is_told():
    run = run_of([])
    empty = run.distributions.iloc[:0]
    with pytest.raises(StateError, match="somewhere has no update of its distributions yet: let its search run on"):
        SearchOutcome.of(Run(**{**run.__dict__, "distributions": empty}), SPACE, COSTS)


def test_a_coefficients_candidates_are_its_mode_the_best_by_its_sum_and_draws_of_its_own():
    goals = goals_of_run(run_of([]))
    assert [(goal.coefficient, goal.distribution) for goal in goals] == [(0.0, 0), (0.5, 1)]
    # The loss falls with the size: by loss alone the largest are best, with 0.5 * complexity the smallest.
    outcome = outcome_of(whole_space(lambda row: 1.0 - 0.1 * float(PARAMS([row])[0]) / PARAMS.maximum))
    candidates = propose(outcome, goals, 10)
    large, small = ([each for each in candidates if each.goal == k] for k in range(2))
    assert by_origin(large, "mode") == [(2, 1, 2)]
    assert by_origin(large, "evaluated") == [(2, 1, 1), (2, 1, 0), (1, 1, 2), (1, 1, 1), (1, 1, 0)]
    assert by_origin(small, "mode") == [(0, 0, 0)]
    assert by_origin(small, "evaluated") == [(0, 0, 1), (0, 0, 2), (1, 0, 0), (1, 0, 1), (1, 0, 2)]
    assert [len(by_origin(each, "drawn")) for each in (large, small)] == [4, 4]
    for each in (large, small):
        assert len({one.architecture for one in each}) == 10
        assert all(one.within_budget for one in each)


@pytest.mark.parametrize(("number", "expected"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (6, (1, 3, 2))])
def test_the_number_of_candidates_is_shared_among_the_kinds(number, expected):
    candidates = propose(outcome_of(whole_space()), [Goal(coefficient=0.0, distribution=0)], number)
    assert tuple(len(by_origin(candidates, kind)) for kind in ("mode", "evaluated", "drawn")) == expected


def test_a_candidate_knows_its_costs_and_what_the_record_has_of_it():
    outcome = outcome_of([((2, 1, 1), 0.25)])
    candidates = propose(outcome, [Goal(coefficient=0.0, distribution=0)], 3)
    (evaluated,) = [each for each in candidates if each.origin == "evaluated"]
    assert (evaluated.architecture, evaluated.evaluation_id, evaluated.recorded_loss) == ((2, 1, 1), 100, 0.25)
    assert evaluated.costs == {"params": 1121.0, "flops": 0.0}
    assert evaluated.complexity == pytest.approx(1121 / PARAMS.maximum)
    (mode,) = [each for each in candidates if each.origin == "mode"]
    assert (mode.evaluation_id, mode.recorded_loss) == (None, None)


def test_within_limits_every_candidate_but_the_nearest_mode_keeps_them():
    limits = {"params": 1022.0, "flops": 4.0}
    outcome = outcome_of(whole_space(lambda row: 1.0 - 0.1 * float(PARAMS([row])[0]) / PARAMS.maximum))
    candidates = propose(outcome, [Goal(limits=limits)], 9)
    over = [each for each in candidates if not each.within_budget]
    assert [each.origin for each in over] == ["mode"]
    kept = [each for each in candidates if each.within_budget]
    assert kept
    for each in kept:
        assert PARAMS([each.architecture])[0] <= 1022
        assert FLOPS([each.architecture])[0] <= 4
    assert by_origin(candidates, "evaluated")[0] == (2, 0, 2)  # the least loss of those within, at both limits
    assert "drawn" in {each.origin for each in candidates}


def test_the_distribution_for_limits_is_the_one_whose_expected_costs_are_nearest():
    outcome = outcome_of(whole_space())
    expected = PARAMS.expectation(outcome.probs_KDC)
    assert expected[0] > expected[1]
    for k in range(2):
        assert outcome.distributions_for(Goal(limits={"params": expected[k] + 1})) == [k, 1 - k]
    assert outcome.distributions_for(Goal(coefficient=0.0, distribution=1)) == [1]
    small = {"params": expected[1]}
    assert outcome.distributions_for(Goal(limits=small, distribution=0)) == [0, 1]  # its own first


def test_a_target_is_a_hard_limit_that_its_own_distribution_searched_for():
    run = run_of(whole_space())
    goals = goals_of_run(replace(run, config={**run.config, "targets": [1010.0, 1110.0]}))
    assert [(dict(goal.limits), goal.distribution, goal.coefficient) for goal in goals] == [
        ({"params": 1010.0}, 0, None),
        ({"params": 1110.0}, 1, None),
    ]
    for goal in goals:
        proposed = propose(SearchOutcome.of(run, SPACE, COSTS), [goal], 4)
        assert {"mode", "evaluated", "drawn"} == {each.origin for each in proposed}
        kept = [each for each in proposed if each.within_budget]
        assert kept
        assert all(each.costs["params"] <= goal.limits["params"] for each in kept)


def test_where_its_own_distribution_draws_nothing_within_the_limits_the_others_do():
    certain = [[0.0, 0.0, 1.0], [0.0, 1.0], [0.0, 0.0, 1.0]]
    outcome = outcome_of([], probs=(certain, SMALL))
    candidates = propose(outcome, [Goal(limits={"params": 1022.0}, distribution=0)], 7)
    assert by_origin(candidates, "mode") == [(2, 1, 2), (0, 0, 0)]
    assert len(by_origin(candidates, "drawn")) == 3
    assert [each.within_budget for each in candidates] == [False, True, True, True, True]


CERTAIN = [[0.0, 0.0, 1.0], [0.0, 1.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize("cost", [PARAMS, FLOPS])
def test_if_any_architecture_of_the_space_keeps_a_limit_one_is_proposed(cost):
    """Distributions that draw the dearest alone, and a record of it alone: every limit of the range is met."""
    dearest = tuple(cost.argmax().tolist())
    one_hot = [np.eye(count)[choice].tolist() for count, choice in zip(cost.num_categories, dearest, strict=True)]
    outcome = outcome_of([(dearest, 0.1)], probs=(one_hot, one_hot))
    for limit in np.unique(cost(SPACE.enumerate())):
        candidates = propose(outcome, [Goal(limits={cost.name: limit})], 10)
        assert any(each.within_budget and cost([each.architecture])[0] <= limit for each in candidates)
        assert bool(by_origin(candidates, "cheapest")) == (limit < cost.maximum)  # only where nothing else keeps it


def test_of_several_limits_that_the_space_can_keep_hardly_any_are_missed():
    """Two costs that pull apart, and limits at an architecture of 4,096 that as few as possible keep (40 spaces)."""
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


def test_limits_of_a_cost_that_is_no_sum_are_kept_by_drawing_and_by_local_search():
    uneven = Unevenness("unevenness", SPACE.num_categories)
    outcome = replace(outcome_of([((2, 0, 2), 0.1)]), costs={**COSTS, "unevenness": uneven})
    candidates = propose(outcome, [Goal(limits={"unevenness": 1.0})], 12)
    assert len(by_origin(candidates, "drawn")) >= 5
    assert all(each.within_budget == (uneven([each.architecture])[0] <= 1) for each in candidates)
    certain = replace(outcome, probs_KDC=np.array([CERTAIN_UNEVEN, CERTAIN_UNEVEN]))
    for limits in ({"unevenness": 0.0}, {"unevenness": 0.0, "params": 1000.0}):
        kept = [each.architecture for each in propose(certain, [Goal(limits=limits)], 4) if each.within_budget]
        assert kept
        assert all(uneven([row])[0] == 0.0 for row in kept)


CERTAIN_UNEVEN = [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


def test_where_nothing_keeps_the_limits_the_nearest_found_is_proposed_to_be_named():
    limits = {"params": 1002.0, "flops": 0.0}  # (1, 1, 0) has 1110 and 0, (0, 0, 0) has 1000 and 8
    outcome = outcome_of([((2, 1, 2), 0.1)], probs=(CERTAIN, CERTAIN))
    candidates = propose(outcome, [Goal(limits=limits)], 10)
    assert by_origin(candidates, "mode") == [(2, 1, 2)]
    assert not any(each.within_budget for each in candidates)
    excess = {row: max((float(PARAMS([row])[0]) - 1002) / 1002, float(FLOPS([row])[0])) for row, _ in whole_space()}
    assert min(excess[each.architecture] for each in candidates) == min(excess.values())


def test_equal_seeds_give_equal_candidates():
    outcome = outcome_of(whole_space())
    goals = [Goal(coefficient=0.0, distribution=0)]
    assert propose(outcome, goals, 8) == propose(outcome, goals, 8)


def test_draws_follow_their_distribution(monkeypatch):
    """The first draw over many seeds, against the exact law given that it is not the mode; chi-square, p = 0.001."""
    monkeypatch.setattr(pool_module, "DRAWS", 20)  # fewer are enough for one
    outcome = outcome_of([])
    counts: dict[tuple[int, ...], int] = {}
    for seed in range(3000):
        (drawn,) = by_origin(propose(outcome, [Goal(coefficient=0.0, distribution=1)], 3, seed), "drawn")
        counts[drawn] = counts.get(drawn, 0) + 1
    probs = {row: np.prod([SMALL[d][c] for d, c in enumerate(row)]) for row, _ in whole_space()}
    del probs[0, 0, 0]
    total = sum(probs.values())
    statistic = sum((counts.get(row, 0) - 3000 * p / total) ** 2 / (3000 * p / total) for row, p in probs.items())
    assert statistic < 39.3  # 16 degrees of freedom


def test_at_least_one_candidate_is_needed():
    with pytest.raises(ConfigError, match="candidates_per_network must be at least 1, got 0"):
        propose(outcome_of([]), [Goal(coefficient=0.0, distribution=0)], 0)
