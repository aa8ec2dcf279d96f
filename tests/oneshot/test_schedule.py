from typing import Any

import numpy as np
import pytest

from multinas_ray.errors import ConfigError, RunError
from multinas_ray.oneshot.messages import Round, RoundResult
from multinas_ray.oneshot.schedule import DIVERGED_ROUNDS, DivergenceCheck, FinishedRound, Plan

NAN, INF = float("nan"), float("inf")


def play(search, order_of, extra=lambda number: 1):
    """Deliver results as `order_of(numbers that are out and not delivered)` says, each `extra` times."""
    search.draw()
    delivered = set()
    while waiting := [number for number in search.drawn if number not in delivered]:
        for number in order_of(waiting):
            for _ in range(extra(number)):
                search.take(number)
            delivered.add(number)
    return search


@pytest.mark.parametrize("rounds_ahead", [1, 2, 4, 40])
def test_rounds_ahead_are_out_at_any_time(make_search, made_up_result, rounds_ahead):
    search = make_search(rounds_ahead=rounds_ahead)
    for number in range(search.plan.num_rounds):
        search.draw()
        assert sorted(search.drawn) == list(range(min(number + rounds_ahead, search.plan.num_rounds)))
        assert search.draw() == []
        assert [each.round.number for each in search.take(number)] == [number]
    assert search.schedule.is_complete
    assert search.draw() == []


def test_the_warm_up_evaluates_nothing_and_leaves_the_distributions_alone(make_search):
    search = make_search(warmup_rounds=5, search_rounds=2)
    start = search.optimizer.probs
    for number in range(5):
        search.draw()
        assert search.drawn[number].architectures is None
        assert search.drawn[number].train_architectures.shape == (2, 3)
        (finished,) = search.take(number)
        assert finished.proposals is None
        assert finished.complexities is None
        assert finished.result.losses == ()
    assert np.array_equal(search.optimizer.probs, start)
    assert np.allclose(start[:, 0], 1 / np.array([3, 3, 3, np.inf]))
    assert search.optimizer.num_told == 0
    assert not search.schedule.is_complete
    assert len(search.optimizer.pending()) == 2 * 8  # the two search rounds are drawn already


def test_every_search_round_is_one_update(make_search):
    search = make_search().run_in_order()
    assert search.optimizer.num_updates == 12
    assert search.optimizer.num_told == 12 * 8
    assert search.optimizer.num_ignored == 0
    assert len(search.optimizer.pending()) == 0


def test_the_warm_up_trains_its_own_draws_whatever_the_distributions_are(make_search):
    search, other = make_search(warmup_rounds=5, search_rounds=2), make_search(warmup_rounds=5, search_rounds=2)
    other.optimizer.sample(7)  # the distributions' draws go on elsewhere
    drawn = [each.draw()[:4] for each in (search, other)]
    for one, another in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one.train_architectures, another.train_architectures)
    first, second = (each.train_architectures.tolist() for each in drawn[0][:2])
    assert first != second


def test_weights_first_trains_in_the_warm_up_alone(make_search):
    search = make_search(train_during_search=False).run_in_order()
    trained = [finished.round.train_architectures is not None for finished, _, _ in search.record]
    evaluated = [finished.round.architectures is not None for finished, _, _ in search.record]
    assert trained == [True] * 3 + [False] * 12
    assert evaluated == [False] * 3 + [True] * 12
    assert search.plan.num_weight_steps == 3


def test_both_trains_and_evaluates_by_default(make_search):
    search = make_search().run_in_order()
    assert all(finished.round.train_architectures is not None for finished, _, _ in search.record)
    assert search.plan.num_weight_steps == search.plan.num_rounds == 15


def test_the_record_is_called_before_the_optimiser_is_told(make_search):
    search = make_search().run_in_order()
    assert [finished.round.number for finished, _, _ in search.record] == list(range(15))
    assert [num_told for _, num_told, _ in search.record] == [0] * 3 + [8 * number for number in range(12)]
    assert [num_told for _, num_told, _ in search.observed] == [0] * 3 + [8 * number for number in range(1, 13)]


def test_each_round_is_observed_before_the_next_moves_the_distributions(make_search):
    search = make_search(warmup_rounds=0)
    search.draw()
    assert search.take(2) == search.take(1) == []
    assert [each.round.number for each in search.take(0)] == [0, 1, 2]
    assert [num_updates for _, _, num_updates in search.record] == [0, 1, 2]
    assert [num_updates for _, _, num_updates in search.observed] == [1, 2, 3]


def test_the_recorded_samples_are_those_of_the_round(make_search):
    search = make_search().run_in_order()
    for finished, _, num_updates in search.record[3:]:
        assert np.array_equal(finished.proposals.architectures, finished.round.architectures)
        assert finished.proposals.drawn_at.max() <= num_updates
        assert finished.complexities.tolist() == (finished.round.architectures.sum(1) / 6).tolist()
    ids = np.concatenate([finished.proposals.ids for finished, _, _ in search.record[3:]])
    assert ids.tolist() == list(range(12 * 8))


@pytest.mark.parametrize("memory", [0, 2])
@pytest.mark.parametrize(
    "order_of",
    [
        pytest.param(lambda waiting: [waiting[-1]], id="last first"),
        pytest.param(lambda waiting: sorted(waiting, reverse=True), id="backwards"),
        pytest.param(lambda waiting: [waiting[0]], id="in order"),
    ],
)
def test_the_order_of_arrival_changes_nothing(make_search, order_of, memory):
    expected = make_search(memory).run_in_order()
    search = play(make_search(memory), order_of)
    assert [finished.round.number for finished, _, _ in search.record] == list(range(15))
    assert search.architectures() == expected.architectures()
    assert np.array_equal(search.optimizer.probs, expected.optimizer.probs)


def test_a_random_order_of_arrival_changes_nothing(make_search):
    rng = np.random.default_rng(3)
    expected = make_search(search_rounds=60).run_in_order()
    search = play(make_search(search_rounds=60), lambda waiting: [rng.choice(waiting)])
    assert search.architectures() == expected.architectures()
    assert np.array_equal(search.optimizer.probs, expected.optimizer.probs)


def test_results_that_come_twice_or_thrice_count_once(make_search):
    expected = make_search().run_in_order()
    search = play(make_search(), lambda waiting: [waiting[0]], extra=lambda number: 1 + number % 3)
    assert search.architectures() == expected.architectures()
    assert search.optimizer.num_told == expected.optimizer.num_told
    assert np.array_equal(search.optimizer.probs, expected.optimizer.probs)


def test_of_two_results_of_a_waiting_round_the_first_counts(make_search):
    search = make_search()
    search.draw()
    assert search.take(1, train_loss=1.0) == []
    assert search.take(1, train_loss=2.0) == []
    finished = search.take(0)
    assert [each.round.number for each in finished] == [0, 1]
    assert finished[1].result.train_loss == 1.0


@pytest.mark.parametrize("number", [-1, 4, 100])
def test_results_of_rounds_that_are_not_out_are_ignored(make_search, number):
    search = make_search()
    search.draw()
    assert search.take(0, round=number) == []
    assert search.record == []
    for known in range(4):
        assert [each.round.number for each in search.take(known)] == [known]
        assert search.take(known) == []
    assert search.schedule.next_round == 4


def test_a_finished_round_names_its_block_and_trial(make_search, made_up_result):
    search = make_search()
    search.draw()
    search.schedule.take(made_up_result(search.drawn[1]), 7, "b")
    search.schedule.take(made_up_result(search.drawn[0]), 6, "a")
    assert [(finished.block, finished.trial_id) for finished, _, _ in search.record] == [(6, "a"), (7, "b")]
    assert [finished for finished, _, _ in search.observed] == [finished for finished, _, _ in search.record]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [2]),
        ({"train_during_search": False}, [2]),
        ({"warmup_rounds": 0}, [0]),
        ({"warmup_rounds": 1, "search_rounds": 1}, [0]),
    ],
)
def test_a_checkpoint_follows_the_warm_up(make_search, changes, expected):
    search = make_search(**changes).run_in_order()
    assert [finished.round.number for finished, _, _ in search.record if finished.round.checkpoint] == expected


def test_an_exception_while_recording_leaves_the_optimiser_untold(make_search):
    search = make_search(warmup_rounds=0)
    search.draw()
    before = search.optimizer.probs

    def fail(finished):
        raise OSError("disk full")

    search.schedule._record = fail
    with pytest.raises(OSError, match="disk full"):
        search.take(0)
    assert search.optimizer.num_told == 0
    assert search.schedule.next_round == 0
    assert np.array_equal(search.optimizer.probs, before)
    search.schedule._record = search.keep  # the same round can be taken again
    assert len(search.take(0)) == 1
    assert search.optimizer.num_told == 8


def test_failed_evaluations_are_told_and_move_the_distributions(make_search, made_up_result):
    search = make_search(warmup_rounds=0)
    search.draw()
    good = made_up_result(search.drawn[0]).losses
    (finished,) = search.take(0, losses=(INF, INF, INF, *good[3:]))
    assert finished.result.losses == (INF, INF, INF, *good[3:])
    assert np.isfinite(search.optimizer.probs).all()
    assert search.optimizer.num_updates == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"warmup_rounds": -1}, "warmup_rounds must be at least 0, got -1"),
        ({"search_rounds": 0}, "search_rounds must be at least 1, got 0"),
        ({"num_train_architectures": 0}, "num_train_architectures must be at least 1, got 0"),
        ({"rounds_ahead": 0}, "rounds_ahead must be at least 1, got 0"),
        (
            {"warmup_rounds": 0, "train_during_search": False},
            "the supernet must be trained, train_during_search=False with warmup_rounds=0 never does it: "
            "set warmup_rounds to the number of weight steps, or train_during_search=True",
        ),
    ],
)
def test_a_plan_that_breaks_a_rule_says_which(make_plan, changes, text):
    with pytest.raises(ConfigError) as caught:
        make_plan(**changes)
    assert str(caught.value) == f"Plan: {text}"


def test_a_plan_has_no_positional_arguments():
    with pytest.raises(ConfigError, match="1 is one argument too many by position: give arguments by name"):
        Plan(1, 2, 3)  # type: ignore[call-arg]  # wrong on purpose


def finished_of(number, train_loss, losses=(), trains=True):
    """A finished round with these losses; the warm-up's without any, weights first without training."""
    rows = np.zeros((max(1, len(losses)), 3), int)
    return FinishedRound(
        round=Round(
            number=number, train_architectures=rows if trains else None, architectures=rows if losses else None
        ),
        result=RoundResult(
            round=number, train_loss=train_loss, losses=losses, accuracies=(0.1,) * len(losses), compute_seconds=0.0
        ),
        proposals=None,
        complexities=None,
        block=0,
        trial_id="trial",
    )


WARMUP: dict[str, Any] = {}
SEARCH: dict[str, Any] = {"losses": (NAN, INF)}
FIXED: dict[str, Any] = {"losses": (INF, NAN), "trains": False}


@pytest.mark.parametrize("train_loss", [NAN, INF, -INF])
@pytest.mark.parametrize("kind", [WARMUP, SEARCH, FIXED], ids=["warm-up", "search", "fixed weights"])
def test_rounds_in_a_row_without_a_finite_loss_stop_a_search(train_loss, kind):
    check = DivergenceCheck()
    for number in range(7, 7 + DIVERGED_ROUNDS - 1):
        check.check(finished_of(number, train_loss, **kind))
    with pytest.raises(RunError) as caught:
        check.check(finished_of(6 + DIVERGED_ROUNDS, train_loss, **kind))
    assert str(caught.value) == (
        "losses must stay finite, the 5 rounds up to 11 have no finite loss, so the training has diverged: "
        "lower learning_rate or gradient_clip_norm and start the run under another name"
    )


@pytest.mark.parametrize(
    "good",
    [
        {"train_loss": 2.0},
        {"train_loss": 2.0, "losses": (NAN, INF)},
        {"train_loss": NAN, "losses": (NAN, 1.5)},
        {"train_loss": NAN, "losses": (-1.5, INF), "trains": False},
    ],
)
def test_one_finite_loss_starts_the_count_anew(good):
    check = DivergenceCheck()
    number = 0
    for _ in range(3):
        for _ in range(DIVERGED_ROUNDS - 1):
            check.check(finished_of(number, NAN, losses=(NAN, NAN)))
            number += 1
        check.check(finished_of(number, **good))
        number += 1


def test_the_count_goes_on_from_the_warm_up_into_the_search():
    check = DivergenceCheck()
    for number in range(DIVERGED_ROUNDS - 1):
        check.check(finished_of(number, NAN))
    with pytest.raises(RunError, match="the 5 rounds up to 4 have no finite loss"):
        check.check(finished_of(DIVERGED_ROUNDS - 1, NAN, losses=(INF, INF)))


def test_a_search_on_fixed_weights_is_not_judged_by_its_missing_training_loss(make_search):
    check, search = DivergenceCheck(), make_search(train_during_search=False).run_in_order()
    for finished, _, _ in search.record:
        check.check(finished)
    assert sum(np.isnan(finished.result.train_loss) for finished, _, _ in search.record) == 12
