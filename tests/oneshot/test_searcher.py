import logging
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.search import Searcher

from multinas_ray.errors import RunError
from multinas_ray.oneshot.round_blocks import cut_rounds
from multinas_ray.oneshot.searcher import MAX_BLOCK_FAILURES, OneShotSearch


class FakeBroker:
    """Records what is submitted; `submit.remote` as with an actor's handle."""

    def __init__(self):
        self.rounds, self.acknowledged = {}, []
        self.submit = SimpleNamespace(remote=self._submit)

    def _submit(self, rounds, acknowledged):
        assert not {each.number for each in rounds} & set(self.rounds)
        self.rounds.update({each.number: each for each in rounds})
        self.acknowledged.append(acknowledged)


class Tune:
    """Plays Tune's part: a searcher over a made-up search, and results as a trial would report them."""

    def __init__(self, made_up, result_of, num_blocks=None):
        self.made_up, self.result_of = made_up, result_of
        self.broker = FakeBroker()
        blocks = cut_rounds(0, made_up.plan.num_rounds, 4)[:num_blocks]
        self.search = OneShotSearch(made_up.schedule, blocks, self.broker, {"broker": "b", "namespace": "n"})
        self.search.start()

    @property
    def finished(self):
        """Numbers of the rounds that were taken, in order."""
        return [finished.round.number for finished, _, _ in self.made_up.observed]

    def result(self, number, **changes):
        block = cut_rounds(number, self.made_up.plan.num_rounds, 4)[0]
        return {
            **self.result_of(self.broker.rounds[number]).to_report(),
            "block": block.number,
            "done": number == block.stop - 1,
            "trial_id": "said by Tune",
            **changes,
        }


@pytest.fixture
def make_tune(make_search, made_up_result):
    def make(num_blocks=None, **changes):
        return Tune(make_search(warmup_rounds=0, **changes), made_up_result, num_blocks)

    return make


def run_all(tune):
    """Two trials at a time, each result once and in order; the last of a block comes with the completion."""
    blocks: list[int] = []
    while (config := tune.search.suggest(f"t{len(blocks)}")) != Searcher.FINISHED:
        for number in range(config["start"], config["stop"] - 1):
            tune.search.on_trial_result(trial_id=f"t{len(blocks)}", result=tune.result(number))
        last = tune.result(config["stop"] - 1)
        tune.search.on_trial_complete(trial_id=f"t{len(blocks)}", result=last)
        blocks.append(config["block"])
    return blocks


def test_a_start_sends_the_first_rounds(make_tune):
    tune = make_tune(rounds_ahead=3)
    assert sorted(tune.broker.rounds) == [0, 1, 2]
    assert tune.broker.acknowledged == [0]


def test_a_suggestion_is_a_block_and_the_trials_config(make_tune):
    tune = make_tune()
    assert tune.search.suggest("a") == {"block": 0, "start": 0, "stop": 4, "broker": "b", "namespace": "n"}
    assert tune.search.suggest("b") == {"block": 1, "start": 4, "stop": 8, "broker": "b", "namespace": "n"}


def test_a_search_runs_to_its_end(make_tune, make_search):
    tune = make_tune()
    assert run_all(tune) == [0, 1, 2]
    assert tune.search.error is None
    assert tune.made_up.schedule.is_complete
    assert tune.finished == list(range(12))
    assert tune.broker.acknowledged[-1] == 12
    assert sorted(tune.broker.rounds) == list(range(12))
    expected = make_search(warmup_rounds=0).run_in_order()
    assert np.array_equal(tune.made_up.optimizer.probs, expected.optimizer.probs)
    assert {finished.trial_id for finished, _, _ in tune.made_up.record} == {"t0", "t1", "t2"}
    assert [finished.block for finished, _, _ in tune.made_up.record] == [0] * 4 + [1] * 4 + [2] * 4


def test_nothing_is_suggested_while_blocks_that_may_come_back_are_out(make_tune):
    tune = make_tune(num_blocks=1)
    tune.search.suggest("a")
    assert tune.search.suggest("b") is None
    tune.search.on_trial_complete(trial_id="a", error=True)
    assert tune.search.suggest("b")["block"] == 0
    assert tune.search.suggest("c") is None


def test_with_no_block_left_and_none_out_the_search_is_finished(make_tune):
    tune = make_tune(num_blocks=1)
    tune.search.suggest("a")
    tune.search.on_trial_complete(trial_id="a", result=tune.result(0))
    assert tune.search.suggest("b") == Searcher.FINISHED


def test_a_stopped_search_hands_out_nothing(make_tune):
    tune = make_tune()
    tune.search.suggest("a")
    tune.search.stop()
    assert tune.search.suggest("b") == Searcher.FINISHED


def test_results_of_trials_still_running_count_after_a_stop(make_tune):
    tune = make_tune()
    tune.search.suggest("a")
    tune.search.stop()
    tune.search.on_trial_result(trial_id="a", result=tune.result(0))
    assert tune.made_up.optimizer.num_told == 8


def test_a_result_of_a_trial_that_was_not_suggested_changes_nothing(make_tune):
    tune = make_tune()
    tune.search.on_trial_result(trial_id="unknown", result=tune.result(0))
    tune.search.on_trial_complete(trial_id="unknown", result=tune.result(0))
    assert tune.search.error is None
    assert tune.finished == []


def test_the_result_that_comes_with_the_completion_counts_once(make_tune):
    tune = make_tune()
    tune.search.suggest("a")
    for number in range(3):
        tune.search.on_trial_result(trial_id="a", result=tune.result(number))
    tune.search.on_trial_complete(trial_id="a", result=tune.result(3))
    tune.search.on_trial_complete(trial_id="a", result=tune.result(3))
    assert tune.finished == [0, 1, 2, 3]
    assert tune.made_up.optimizer.num_told == 32


def test_a_result_that_comes_both_ways_counts_once(make_tune):
    tune = make_tune()
    tune.search.suggest("a")
    tune.search.on_trial_result(trial_id="a", result=tune.result(0))
    tune.search.on_trial_complete(trial_id="a", result=tune.result(0))
    assert tune.finished == [0]


@pytest.mark.parametrize("result", [None, {}, {"done": True}, {"done": True, "training_iteration": 4}])
def test_a_completion_without_a_round_changes_nothing(make_tune, result):
    tune = make_tune()
    tune.search.suggest("a")
    tune.search.on_trial_complete(trial_id="a", result=result)
    assert tune.search.error is None
    assert tune.finished == []
    assert tune.search.suggest("b")["block"] == 1


def test_the_block_of_a_failed_trial_comes_next_and_only_what_is_missing_counts(make_tune):
    tune = make_tune()
    tune.search.suggest("a")
    tune.search.suggest("b")
    tune.search.on_trial_result(trial_id="a", result=tune.result(0))
    tune.search.on_trial_complete(trial_id="a", error=True)
    assert tune.search.suggest("c")["block"] == 0
    for number in (0, 1, 1, 2):
        tune.search.on_trial_result(trial_id="c", result=tune.result(number))
    assert tune.finished == [0, 1, 2]
    assert tune.made_up.optimizer.num_ignored == 0


def test_the_failure_of_an_unknown_or_finished_trial_is_no_failure(make_tune):
    tune = make_tune()
    tune.search.suggest("a")
    tune.search.on_trial_complete(trial_id="a", result=tune.result(0))
    for _ in range(2 * MAX_BLOCK_FAILURES):
        tune.search.on_trial_complete(trial_id="a", error=True)
        tune.search.on_trial_complete(trial_id="never suggested", error=True)
    assert tune.search.error is None
    assert tune.search.suggest("b")["block"] == 1


def test_a_search_gives_up_after_many_failures(make_tune):
    tune = make_tune()
    for failure in range(MAX_BLOCK_FAILURES):
        assert tune.search.error is None
        assert tune.search.suggest(f"t{failure}")["block"] == 0
        tune.search.on_trial_complete(trial_id=f"t{failure}", error=True)
    assert isinstance(tune.search.error, RunError)
    assert str(tune.search.error) == (
        f"fewer than {MAX_BLOCK_FAILURES} trials may fail, {MAX_BLOCK_FAILURES} failed: see error.txt in the "
        "tune folder of the run"
    )
    assert tune.search.suggest("next") == Searcher.FINISHED


def test_results_out_of_order_wait_for_their_turn(make_tune):
    tune = make_tune(rounds_ahead=6)
    tune.search.suggest("a")
    tune.search.suggest("b")
    tune.search.on_trial_result(trial_id="b", result=tune.result(1))
    assert tune.finished == []
    assert tune.broker.acknowledged[-1] == 0
    tune.search.on_trial_result(trial_id="a", result=tune.result(0))
    assert tune.finished == [0, 1]
    assert tune.broker.acknowledged[-1] == 2
    assert sorted(tune.broker.rounds) == list(range(8))


def test_a_round_that_failed_does_not_stop_a_search(make_tune):
    tune = make_tune()
    tune.search.suggest("a")
    tune.search.on_trial_result(trial_id="a", result=tune.result(0, losses=[math.inf] * 8, train_loss=math.nan))
    assert tune.search.error is None
    (finished, _, _) = tune.made_up.record[0]
    assert np.isposinf(finished.result.losses).all()
    assert np.isfinite(tune.made_up.optimizer.probs).all()


def broken_results(tune):
    result = tune.result(0)
    return {
        "record": result,
        "losses": {**result, "losses": result["losses"][:-1]},
        "no losses": {key: value for key, value in result.items() if key != "losses"},
    }


@pytest.mark.parametrize(("what", "kind"), [("record", OSError), ("losses", ValueError), ("no losses", KeyError)])
def test_an_error_is_kept_and_never_raised(make_tune, caplog, what, kind):
    tune = make_tune()

    def fail(finished):
        raise OSError("disk full")

    if what == "record":
        tune.made_up.schedule._record = fail
    tune.search.suggest("a")
    with caplog.at_level(logging.ERROR):
        tune.search.on_trial_result(trial_id="a", result=broken_results(tune)[what])
    assert isinstance(tune.search.error, kind)
    assert caplog.messages == ["The search stops, because round 0 could not be recorded."]
    assert "Traceback" not in caplog.text
    assert tune.made_up.optimizer.num_told == 0
    assert tune.search.suggest("b") == Searcher.FINISHED
    first_error = tune.search.error
    tune.made_up.schedule._record = tune.made_up.keep  # it would work again
    tune.search.on_trial_result(trial_id="a", result=tune.result(0))
    tune.search.on_trial_complete(trial_id="a", result=tune.result(1))
    assert tune.search.error is first_error
    assert tune.made_up.optimizer.num_told == 0


def test_an_error_in_a_view_is_kept_too(make_tune, caplog):
    tune = make_tune()
    tune.made_up.schedule._observe = lambda finished: 1 / 0
    tune.search.suggest("a")
    tune.search.on_trial_result(trial_id="a", result=tune.result(0))
    assert isinstance(tune.search.error, ZeroDivisionError)


def test_the_pickled_searcher_is_tiny_and_holds_nothing(make_tune):
    tune = make_tune()
    tune.search.suggest("a")
    pickled = pickle.dumps(tune.search)
    assert len(pickled) < 200
    assert vars(pickle.loads(pickled)) == {}


def test_a_one_shot_search_is_not_restored_by_tune(make_tune, tmp_path):
    tune = make_tune()
    tune.search.save(str(tmp_path / "searcher"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RunError) as caught:
        tune.search.restore(str(tmp_path / "searcher"))
    assert str(caught.value) == ("Tuner.restore cannot resume a one-shot search: call run_search(..., resume=True)")
