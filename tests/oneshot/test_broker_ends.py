from dataclasses import replace

import pytest

from multinas_ray.cluster import LAST_CHECKPOINT_SECONDS, SpotNotice
from multinas_ray.oneshot import broker as broker_module
from multinas_ray.oneshot.broker import START_GATE_SECONDS
from multinas_ray.oneshot.messages import Ending
from tests.oneshot.broker_calls import alive, dead, is_waiting, numbers, results_of, round_of, rounds_of, silent, soon


def test_first_results_wait_for_all_trials(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 2), 0)
        await broker.begin_attempt("a", alive())
        await broker.post("a", results_of(0))
        await broker.trial_ready("one")
        await broker.trial_ready("one")
        waiting = await is_waiting(broker.next_result(-1, 2))
        await broker.trial_ready("two")
        assert (await soon(waiting)).round == 0

    play(scenario, num_trials=2)


def test_the_start_gate_opens_by_itself(play, clock):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 2), 0)
        await broker.begin_attempt("a", alive())
        await broker.post("a", results_of(0))
        await is_waiting(broker.next_result(-1, 2))
        clock.now += START_GATE_SECONDS
        assert (await soon(broker.next_result(-1, 2))).round == 0

    play(scenario, num_trials=2)


def test_a_trial_at_the_gate_is_let_in_after_the_time(play, monkeypatch):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 2), 0)
        await broker.begin_attempt("a", alive())
        await broker.post("a", results_of(0))
        assert (await soon(broker.next_result(-1, 2))).round == 0

    monkeypatch.setattr(broker_module, "START_GATE_SECONDS", 0.05)
    play(scenario, num_trials=2)


def test_a_stop_opens_the_gate(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        waiting = await is_waiting(broker.next_result(-1, 4))
        await broker.stop()
        assert await soon(waiting) is None

    play(scenario, num_trials=2)


def test_a_stop_withdraws_what_no_worker_has_and_lets_the_rest_finish(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 2), 0)
        await broker.begin_attempt("a", alive())
        assert numbers(await soon(broker.take(0))) == [0, 1]
        await broker.submit(rounds_of(2, 4), 0)
        await broker.stop()
        await broker.submit(rounds_of(4, 6), 0)
        worker = await is_waiting(broker.take(2))
        await is_waiting(broker.take(4))
        trial = await is_waiting(broker.next_result(-1, 4))
        other_trial = await soon(broker.next_result(3, 8))
        assert other_trial is None
        await broker.stop()  # once more, as the driver does
        await broker.post("a", results_of(0, 1))
        assert (await soon(trial)).round == 0
        assert (await soon(broker.next_result(0, 4))).round == 1
        assert await soon(broker.next_result(1, 4)) is None
        await broker.end(Ending())
        assert isinstance(await soon(worker), Ending)

    play(scenario)


def test_after_a_stop_a_group_that_is_started_again_still_gets_what_the_one_before_had(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        assert numbers(await soon(broker.take(0))) == [0, 1, 2, 3]
        await broker.stop()
        await broker.end(Ending())
        assert numbers(await soon(broker.take(0))) == [0, 1, 2, 3]
        assert isinstance(await soon(broker.take(4)), Ending)

    play(scenario)


def test_a_stop_without_workers_gives_up_what_is_not_done(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        await soon(broker.take(0))
        await broker.post("a", results_of(0))
        assert (await soon(broker.next_result(-1, 4))).round == 0
        trial = await is_waiting(broker.next_result(0, 4))
        await broker.stop()  # interrupted first, then the workers die
        assert not trial.done()
        await broker.stop(workers_are_gone=True)
        assert await soon(trial) is None

    play(scenario)


def test_a_result_that_was_done_before_the_workers_went_is_still_given(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        await soon(broker.take(0))
        await broker.post("a", results_of(0, 1))
        await broker.stop(workers_are_gone=True)
        assert (await soon(broker.next_result(0, 4))).round == 1
        assert await soon(broker.next_result(1, 4)) is None

    play(scenario)


def stamps(rounds):
    return [each.number for each in rounds if each.checkpoint]


def test_checkpoints_are_stamped_no_oftener_than_the_interval(play, clock):
    async def scenario(broker):
        taken = []
        for number in range(10):
            await broker.submit([round_of(number)], 0)
            taken += await soon(broker.take(number))
            clock.now += 4.0
        assert stamps(taken) == [3, 6, 9]  # at 12, 24 and 36 s
        assert [each.train_architectures[0, 0] for each in taken] == list(range(10))

    play(scenario, checkpoint_interval_seconds=10.0)


def test_a_stamp_of_the_schedule_stays_and_begins_the_interval_anew(play, clock):
    async def scenario(broker):
        await broker.submit([replace(each, checkpoint=each.number == 1) for each in rounds_of(0, 4)], 0)
        clock.now += 9.0
        assert stamps(await soon(broker.take(0))) == [1]
        clock.now += 9.0
        await broker.submit([round_of(4)], 0)
        assert stamps(await soon(broker.take(4))) == []
        clock.now += 1.0
        await broker.submit([round_of(5)], 0)
        assert stamps(await soon(broker.take(5))) == [5]

    play(scenario, checkpoint_interval_seconds=10.0)


def test_rounds_handed_out_together_have_one_stamp_and_a_later_group_sees_it(play, clock):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        clock.now += 100.0
        assert stamps(await soon(broker.take(0))) == [0]
        clock.now += 100.0
        await broker.submit(rounds_of(4, 6), 0)
        assert stamps(await soon(broker.take(0))) == [0, 4]  # a group started again, first to get what waits since
        assert stamps(await soon(broker.take(4))) == [4]

    play(scenario, checkpoint_interval_seconds=10.0)


def test_a_spot_notice_has_a_checkpoint_follow_the_next_round_whichever_group_takes_it(play, clock):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 2), 0)
        first = await soon(broker.take(0))
        await broker.submit(rounds_of(2, 4), 0)
        await broker.spot_notice(SpotNotice("10.0.0.7", 2 * LAST_CHECKPOINT_SECONDS - 1))
        first += await soon(broker.take(2))
        again = await soon(broker.take(0))
        assert stamps(first) == stamps(again) == [2]  # rounds 0 and 1 were under way without
        await broker.submit(rounds_of(4, 6), 0)
        clock.now += 2 * LAST_CHECKPOINT_SECONDS - 2
        assert stamps(await soon(broker.take(4))) == []

    play(scenario, checkpoint_interval_seconds=1e6)


def test_nodes_that_go_together_cost_one_checkpoint(play, clock):
    async def scenario(broker):
        for node in ("10.0.0.7", "10.0.0.8"):
            await broker.spot_notice(SpotNotice(node, 30.0))
        await broker.submit(rounds_of(0, 2), 0)
        assert stamps(await soon(broker.take(0))) == [0]

    play(scenario, checkpoint_interval_seconds=1e6)


def test_a_long_notice_has_another_checkpoint_shortly_before_the_end(play, clock):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 2), 0)
        await broker.spot_notice(SpotNotice("10.0.0.7", 120.0))
        assert stamps(await soon(broker.take(0))) == [0]
        clock.now += 120.0 - LAST_CHECKPOINT_SECONDS - 1.0
        await broker.submit([round_of(2)], 0)
        assert stamps(await soon(broker.take(2))) == []
        clock.now += 1.0
        await broker.submit(rounds_of(3, 5), 0)
        assert stamps(await soon(broker.take(3))) == [3]

    play(scenario, checkpoint_interval_seconds=1e6)


def test_the_driver_hears_every_notice_in_turn(play):
    async def scenario(broker):
        notices = [SpotNotice("10.0.0.7", 120.0), SpotNotice("10.0.0.8", 30.0)]
        waiting = await is_waiting(broker.next_note(0))
        for each in notices:
            await broker.spot_notice(each)
        assert [await soon(waiting), await soon(broker.next_note(1))] == notices
        await is_waiting(broker.next_note(2))

    play(scenario)


@pytest.mark.parametrize("lost", [dead, silent])
def test_a_stop_with_a_worker_lost_gives_up_what_is_not_done(play, lost, monkeypatch):
    """The group waits for another node, maybe for ever: nobody finishes the rounds in flight."""

    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", alive())
        await broker.begin_attempt("a", lost())
        await soon(broker.take(0))
        await broker.post("a", results_of(0))
        trial = await is_waiting(broker.next_result(0, 4))
        await soon(broker.stop())
        assert await soon(trial) is None
        assert await soon(broker.end(Ending())) is False

    monkeypatch.setattr(broker_module, "WORKER_ANSWER_SECONDS", 0.1)
    play(scenario)


def test_only_the_workers_of_the_present_attempt_are_asked(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 4), 0)
        await broker.begin_attempt("a", dead())
        await broker.begin_attempt("b", alive())
        await broker.begin_attempt("a", dead())  # a late call
        await soon(broker.take(0))
        trial = await is_waiting(broker.next_result(-1, 4))
        await soon(broker.stop())
        await broker.post("b", results_of(0))
        assert (await soon(trial)).round == 0
        assert await soon(broker.end(Ending())) is True

    play(scenario)


def test_workers_that_have_not_begun_are_waited_for(play):
    async def scenario(broker):
        assert await soon(broker.end(Ending())) is True

    play(scenario)


def test_the_ending_comes_after_all_rounds(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 3), 0)
        ending = Ending()
        await broker.end(ending)
        assert numbers(await soon(broker.take(0))) == [0, 1, 2]
        assert numbers(await soon(broker.take(2))) == [2]
        assert await soon(broker.take(3)) is ending

    play(scenario)


def test_a_group_that_restarts_after_the_last_round_gets_the_ending(play):
    async def scenario(broker):
        await broker.submit(rounds_of(0, 2), 0)
        await broker.begin_attempt("a", alive())
        await broker.post("a", results_of(0, 1))
        await broker.end(Ending())
        assert isinstance(await soon(broker.take(await broker.begin_attempt("b", alive()))), Ending)

    play(scenario)


def test_of_two_endings_the_first_counts(play):
    async def scenario(broker):
        broken_off = Ending(checkpoint=False)
        await broker.end(broken_off)
        await broker.end(Ending(supernet=True))
        assert await soon(broker.take(0)) is broken_off

    play(scenario)


def test_the_broker_loads_no_torch():
    import subprocess
    import sys

    code = "import sys, multinas_ray.oneshot.broker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
