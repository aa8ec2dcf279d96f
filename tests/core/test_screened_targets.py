"""The screened optimiser where targets are given."""

import itertools

import numpy as np
import pytest

from multinas_ray import Proposals, ScreenedOptimizer
from multinas_ray.core.layout import CategoryLayout
from multinas_ray.core.screened.archive import Archive
from multinas_ray.core.screened.optimizer import FIRST_OF_EACH
from multinas_ray.core.screened.screening import OPTIMISM, TargetCriteria
from multinas_ray.core.screened.surrogate import Prediction

COUNTS = (4,) * 6
SPACE_ND = np.array(list(itertools.product(*map(range, COUNTS))))
COSTS_DC = np.tile(np.arange(4.0), (6, 1)) / 18
TARGETS = (0.2, 0.45, 0.7)
GAINS_DC = np.sqrt(np.arange(4.0)) * np.exp(0.5 * np.random.default_rng(5).normal(size=(6, 4)))


def losses_of(architectures):
    """A sum over the variables, and one over neighbours."""
    return -GAINS_DC[np.arange(6), architectures].sum(axis=1) - 0.3 * (np.diff(architectures, axis=1) == 1).sum(axis=1)


def costs_of(architectures):
    return COSTS_DC[np.arange(6), architectures].sum(axis=1)


def new_optimizer(seed=0, **changes):
    return ScreenedOptimizer(num_categories=COUNTS, targets=TARGETS, cost_table=COSTS_DC, seed=seed, **changes)


def search(optimizer, count):
    told = []
    for _ in range(count // 3):
        told.append(optimizer.ask())
        architectures = told[-1].architectures
        optimizer.tell(told[-1], losses_of(architectures), costs_of(architectures))
    return Proposals.concatenate(told)


@pytest.mark.parametrize("start", ["uniform", "targets", "prior"])
def test_the_best_within_each_target_is_found_in_a_fortieth_of_the_space(start):
    """99 of 4,096 architectures are evaluated; seeds 0 to 4. Of 99 uniform ones some best is missed by each seed."""
    for seed in range(5):
        given = {"start_architectures": promising_of_each(12)} if start == "prior" else {}
        found = search(new_optimizer(seed, start=start, **given), 99).architectures
        for target in TARGETS:
            best = losses_of(SPACE_ND)[costs_of(SPACE_ND) <= target].min()
            assert losses_of(found)[costs_of(found) <= target].min() <= best + 0.05 * abs(best)


def promising_of_each(count):
    """Architectures not far below each target, in an order of their own."""
    order = np.random.default_rng(8).permutation(len(SPACE_ND))
    costs = costs_of(SPACE_ND)[order]
    return [SPACE_ND[order][(costs <= target) & (costs > 0.5 * target)][:count].tolist() for target in TARGETS]


def first_of(promising):
    """What is proposed first: one of each target by turns, each once."""
    rows = [tuple(each[place]) for place in range(FIRST_OF_EACH) for each in promising]
    return list(dict.fromkeys(rows))


def test_the_first_promising_architectures_of_each_target_come_first_and_by_turns():
    promising = promising_of_each(15)
    optimizer, expected = new_optimizer(start="prior", start_architectures=promising), first_of(promising)
    told = [tuple(row) for row in search(optimizer, len(expected) + 12).architectures.tolist()]
    assert told[: len(expected)] == expected
    assert len(set(told)) == len(told)
    assert not set(told[len(expected) :]) <= {tuple(row) for each in promising for row in each}


def test_promising_architectures_that_are_known_or_pending_are_left_out():
    promising = promising_of_each(12)
    optimizer, expected = new_optimizer(start="prior", start_architectures=promising), first_of(promising)
    pending = optimizer.ask(4)
    search(optimizer, 3)
    other = new_optimizer(seed=1, start="prior", start_architectures=promising)
    other.load_state_dict(optimizer.state_dict())
    other.restart(first_id=100, seed=7, keep=pending)
    asked = other.ask(len(expected) - 7).architectures.tolist()
    assert [tuple(row) for row in asked] == expected[7:]


def test_lists_may_be_short_or_empty():
    optimizer = new_optimizer(start="prior", start_architectures=[[], [[1] * 6], [[1] * 6, [2] * 6]])
    assert optimizer.ask(2).architectures.tolist() == [[1] * 6, [2] * 6]
    assert len(search(optimizer, 30)) == 30


def test_folding_the_record_gives_the_same_distributions():
    optimizer, folded = new_optimizer(), new_optimizer()
    told = search(optimizer, 30)
    for rows in np.array_split(np.arange(len(told)), 4):
        folded.tell(told[rows], losses_of(told[rows].architectures), costs_of(told[rows].architectures))
    np.testing.assert_array_equal(folded.probs, optimizer.probs)
    other = new_optimizer(seed=3)
    other.load_state_dict(optimizer.state_dict())
    np.testing.assert_array_equal(other.ask(6).architectures, optimizer.ask(6).architectures)


def test_the_distributions_approach_their_targets():
    optimizer = new_optimizer(margin_scale=0.1)  # a margin holds expectations towards the middle
    search(optimizer, 150)
    np.testing.assert_allclose(optimizer.diagnostics()["expected_complexity"], TARGETS, atol=0.05)


def test_choices_are_best_within_each_target_in_turns():
    rng = np.random.default_rng(17)
    complexities = rng.random(40)
    screened = Prediction(rng.normal(size=40), 0.2 * rng.random(40), complexities, 0.5, 0.1)
    targets = np.array([0.3, 0.8])
    rows = TargetCriteria(targets).choose(screened, screened[:0], range(3, 11))
    assert len(set(rows)) == 8
    for place, (turn, row) in enumerate(zip(range(3, 11), rows, strict=True)):
        lap, k = divmod(turn, 2)
        losses = screened.losses(OPTIMISM[(k + lap) % 2])
        left = [each for each in np.flatnonzero(complexities <= targets[k]) if each not in rows[:place]]
        assert row == min(left, key=lambda each: losses[each])


def test_where_nothing_is_within_the_target_the_nearest_is_taken():
    screened = Prediction(np.array([0.0, 1.0, 2.0]), np.zeros(3), np.array([0.9, 0.6, 0.7]), 0.0, 1.0)
    assert TargetCriteria(np.array([0.5])).choose(screened, screened[:0], range(3)) == [1, 2, 0]


def test_the_best_rows_within_limits():
    archive = Archive(CategoryLayout.from_num_categories([8]))
    assert archive.best_within(np.array([1.0]), 2) == []
    results = [(0.5, 0.9), (np.inf, 0.0), (0.3, 0.4), (0.2, 0.6), (0.1, 0.8), (0.4, 0.4)]
    for row, (loss, complexity) in enumerate(results):
        archive.add(np.array([row]), loss, complexity)
    assert archive.best_within(np.array([0.4, 0.6, 1.0]), 2) == [2, 5, 3, 4]
    assert archive.best_within(np.array([0.1]), 2) == [2]  # the least complex that did not fail
