import math
import time

import pytest
import torch

from multinas_ray.oneshot.rounds import Traffic
from multinas_ray.oneshot.worker import Outbox, Underway
from tests.oneshot.fakes import SlowOutbox, Stream, packed_of, rounds_of


def add(outbox, number, packed, started_seconds):
    outbox.add(*rounds_of(number), packed, started_seconds, Traffic())


def test_results_leave_the_outbox_in_order():
    outbox = Outbox()
    for number in range(3):
        add(outbox, number, packed_of(number), 0.0)
    assert [each.round for each in outbox.ready()] == [0, 1, 2]
    assert outbox.ready() == []
    assert outbox.drain() == []


def test_a_packed_round_is_unpacked_into_losses_and_accuracies():
    outbox = Outbox()
    add(outbox, 3, packed_of(3), 0.0)
    add(outbox, 4, torch.tensor([math.nan, 1.5, 0.5]), 0.0)
    add(outbox, 5, torch.tensor([2.0]), 0.0)
    first, second, third = outbox.drain()
    assert (first.train_loss, first.losses, first.accuracies) == (3.5, (1.0, 2.0), (0.25, 0.75))
    assert math.isnan(second.train_loss)
    assert (second.losses, second.accuracies) == ((1.5,), (0.5,))
    assert (third.train_loss, third.losses, third.accuracies) == (2.0, (), ())
    assert all(type(value) is float for value in (first.train_loss, *first.losses, *first.accuracies))


@pytest.mark.parametrize("bad", [math.nan, -math.inf, math.inf])
def test_a_loss_that_is_not_finite_is_a_failed_evaluation(bad):
    outbox = Outbox()
    add(outbox, 0, torch.tensor([bad, 1.5, bad, 0.5, 0.1]), 0.0)
    (result,) = outbox.drain()
    assert result.losses == (1.5, math.inf)
    assert repr(result.train_loss) == repr(bad)  # what happened in training is told as it was


@pytest.fixture
def clock(monkeypatch):
    """Sets the time that an outbox reads next."""
    now: dict[str, float] = {}
    monkeypatch.setattr(time, "perf_counter", lambda: now["seconds"])
    return lambda seconds: now.update(seconds=seconds)


def test_a_rounds_time_counts_from_its_start(clock):
    outbox = Outbox()
    add(outbox, 0, packed_of(0), 10.0)
    clock(12.5)
    assert outbox.ready()[0].compute_seconds == 2.5


def test_a_round_that_waited_for_another_counts_from_that_ones_arrival(clock):
    outbox = SlowOutbox()
    for number, started_seconds in enumerate((10.0, 10.5, 11.0)):  # sent to the device at once
        add(outbox, number, packed_of(number), started_seconds)
    clock(12.0)
    assert outbox.wait_for_one().compute_seconds == 2.0
    clock(13.0)
    assert outbox.wait_for_one().compute_seconds == 1.0
    clock(15.0)
    assert outbox.drain()[0].compute_seconds == 2.0
    add(outbox, 3, packed_of(3), 20.0)  # the device had been idle
    clock(20.5)
    assert outbox.wait_for_one().compute_seconds == 0.5


def test_a_result_that_has_not_arrived_holds_the_later_ones_back():
    outbox, streams = Outbox(), [Stream() for _ in range(3)]
    for number, stream in enumerate(streams):
        (work,) = rounds_of(number)
        outbox._waiting.append(Underway(work, packed_of(number), stream.event(), 0.0, Traffic()))
    assert outbox.ready() == []
    streams[1].num_done = 1
    assert outbox.ready() == []
    streams[0].num_done = 1
    assert [each.round for each in outbox.ready()] == [0, 1]


def test_draining_waits_for_what_is_under_way():
    outbox = SlowOutbox()
    for number in range(3):
        add(outbox, number, packed_of(number), 0.0)
    assert outbox.ready() == []
    assert [each.round for each in outbox.drain()] == [0, 1, 2]


def test_waiting_for_one_waits_for_the_oldest_alone():
    outbox = SlowOutbox()
    for number in range(3):
        add(outbox, number, packed_of(number), 0.0)
    assert outbox.wait_for_one().round == 0
    assert outbox.stream.num_done == 1
    assert outbox.ready() == []
    assert outbox.wait_for_one().round == 1


def test_waiting_for_one_takes_a_result_that_is_there_already():
    outbox = Outbox()
    add(outbox, 0, packed_of(0), 0.0)
    add(outbox, 1, packed_of(1), 0.0)
    assert outbox.wait_for_one().round == 0
    assert [each.round for each in outbox.ready()] == [1]


def test_the_length_counts_what_has_not_left():
    outbox = SlowOutbox()
    lengths = [len(outbox)]
    for number in range(3):
        add(outbox, number, packed_of(number), 0.0)
        lengths.append(len(outbox))
    outbox.ready()  # nothing has arrived
    lengths.append(len(outbox))
    outbox.wait_for_one()
    lengths.append(len(outbox))
    outbox.drain()
    lengths.append(len(outbox))
    assert lengths == [0, 1, 2, 3, 3, 2, 0]
