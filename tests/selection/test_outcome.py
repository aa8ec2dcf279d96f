"""What is read from a run: distributions, and losses of networks whatever their encodings."""

import numpy as np
import pytest

from multinas_ray.errors import StateError
from multinas_ray.runs import Run
from multinas_ray.selection.goals import Goal
from multinas_ray.selection.outcome import SearchOutcome
from multinas_ray.spaces import Equivalence
from multinas_ray.spaces.equivalence import IdentityRun
from tests.support.made_up_outcome import (
    ALL_DIFFER,
    COSTS,
    LARGE,
    PARAMS,
    SMALL,
    SPACE,
    outcome_of,
    run_of,
    whole_space,
)


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


def test_encodings_of_one_network_count_as_one():
    """The first two positions skip with 0, and it does not matter which of them does."""
    equivalence = Equivalence(SPACE.num_categories, (IdentityRun(0, 2, 0),))
    outcome = outcome_of(
        [((0, 1, 2), 0.5), ((1, 0, 2), 0.7), ((0, 1, 1), 0.1), ((2, 1, 2), 0.2), ((0, 1, 2), 0.3)],
        equivalence=equivalence,
    )
    assert recorded(outcome) == {
        (1, 0, 2): (pytest.approx(0.5), 104),
        (1, 0, 1): (0.1, 102),
        (2, 1, 2): (0.2, 103),
    }
    assert outcome.places_of([(1, 0, 2), (1, 0, 3), (1, 0, 1)]) == [1, None, 0]
    flipped = outcome_of([], equivalence=equivalence, probs=([[0.9, 0.1, 0.0], [0.1, 0.9], [0.8, 0.1, 0.1]],) * 2)
    assert flipped.modes_for(Goal(coefficient=0.0, distribution=0)).tolist() == [[1, 0, 0]]


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
        SearchOutcome.of(Run(**{**run.__dict__, "distributions": empty}), SPACE, COSTS, ALL_DIFFER)


def test_the_distribution_for_limits_is_the_one_whose_expected_costs_are_nearest():
    outcome = outcome_of(whole_space())
    expected = PARAMS.expectation(outcome.probs_KDC)
    assert expected[0] > expected[1]
    for k in range(2):
        assert outcome.distributions_for(Goal(limits={"params": expected[k] + 1})) == [k, 1 - k]
    assert outcome.distributions_for(Goal(coefficient=0.0, distribution=1)) == [1]
    small = {"params": expected[1]}
    assert outcome.distributions_for(Goal(limits=small, distribution=0)) == [0, 1]  # its own first


def test_the_best_evaluated_keep_the_limits_and_rise_in_the_goals_objective():
    outcome = outcome_of(whole_space(lambda row: 1.0 - 0.1 * float(PARAMS([row])[0]) / PARAMS.maximum))
    within = outcome.best_evaluated(Goal(limits={"params": 1021.0}))
    assert within.tolist() == [[2, 0, 1], [2, 0, 0], [1, 0, 2], [1, 0, 1], [1, 0, 0], [0, 0, 2], [0, 0, 1], [0, 0, 0]]
    assert outcome.best_evaluated(Goal(coefficient=0.0)).tolist()[:2] == [[2, 1, 2], [2, 1, 1]]
    assert outcome.best_evaluated(Goal(coefficient=0.5)).tolist()[:2] == [[0, 0, 0], [0, 0, 1]]


def test_a_tempered_distribution_has_a_fifth_of_the_uniform_one_and_nothing_in_the_padding():
    certain = [[0.0, 0.0, 1.0], [0.0, 1.0], [0.0, 0.0, 1.0]]
    outcome = outcome_of([], probs=(LARGE, certain))
    third = 0.2 / 3
    tempered = [[third, third, 0.8 + third], [0.1, 0.9, 0.0], [third, third, 0.8 + third]]
    np.testing.assert_allclose(outcome.tempered_probs(1), tempered)
    np.testing.assert_allclose(outcome.tempered_probs(0).sum(axis=1), 1.0)
