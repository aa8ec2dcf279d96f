import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ray.train import Checkpoint

from multinas_ray.errors import StateError
from multinas_ray.train import worker as worker_module
from multinas_ray.train.messages import Ending, NetworkResult, Round
from multinas_ray.train.worker import CHECKPOINT_FILE, CHECKPOINT_VERSION, Outbox, WorkerLoop, save_checkpoint


class Event:
    """A stand-in for a CUDA event: it happens when somebody waits for it or says so."""

    def __init__(self):
        self.happened = False

    def query(self):
        return self.happened

    def synchronize(self):
        self.happened = True


def packed_of(number):
    return torch.tensor([number + 0.5, 1.0, 2.0, 0.25, 0.75])


def test_results_leave_the_outbox_in_order():
    outbox = Outbox()
    for number in range(3):
        outbox.add(number, packed_of(number), 0.0)
    assert [each.number for each in outbox.ready()] == [0, 1, 2]
    assert outbox.ready() == []
    assert outbox.drain() == []


def test_a_packed_round_is_unpacked_into_losses_and_accuracies():
    outbox = Outbox()
    outbox.add(3, packed_of(3), 0.0)
    outbox.add(4, torch.tensor([math.nan, 1.5, 0.5]), 0.0)
    outbox.add(5, torch.tensor([2.0]), 0.0)
    first, second, third = outbox.drain()
    assert (first.train_loss, first.losses, first.accuracies) == (3.5, (1.0, 2.0), (0.25, 0.75))
    assert math.isnan(second.train_loss)
    assert (second.losses, second.accuracies) == ((1.5,), (0.5,))
    assert (third.train_loss, third.losses, third.accuracies) == (2.0, (), ())
    assert all(type(value) is float for value in (first.train_loss, *first.losses, *first.accuracies))


def test_a_rounds_time_counts_from_its_start(monkeypatch):
    monkeypatch.setattr(worker_module.time, "perf_counter", lambda: 12.5)
    outbox = Outbox()
    outbox.add(0, packed_of(0), 10.0)
    assert outbox.ready()[0].compute_seconds == 2.5


def test_a_result_that_has_not_arrived_holds_the_later_ones_back():
    outbox = Outbox()
    events = [Event() for _ in range(3)]
    for number, event in enumerate(events):
        outbox._waiting.append((number, packed_of(number), event, 0.0))
    assert outbox.ready() == []
    events[1].happened = True
    assert outbox.ready() == []
    events[0].happened = True
    assert [each.number for each in outbox.ready()] == [0, 1]


def test_draining_waits_for_what_is_under_way():
    class Queue(Event):
        """The last event of a stream: once it happened, the earlier ones have."""

        def synchronize(self):
            for each in events:
                each.happened = True

    outbox, events = Outbox(), [Event(), Event(), Queue()]
    for number, event in enumerate(events):
        outbox._waiting.append((number, packed_of(number), event, 0.0))
    assert [each.number for each in outbox.drain()] == [0, 1, 2]


def call(function):
    return SimpleNamespace(remote=function)


class FakeBroker:
    """Hands out prepared work; every call is noted in one list."""

    def __init__(self, work, start=0):
        self.work, self.calls = list(work), []
        self.begin_attempt = call(lambda attempt: self.note("begin", attempt) or start)
        self.take = call(lambda next_round: self.note("take", next_round) or self.work.pop(0))
        self.post = call(lambda attempt, results: self.note("post", attempt, [each.number for each in results]))
        self.post_network = call(lambda result: self.note("network", result.index))

    def note(self, *what):
        self.calls.append(what)

    def numbers(self, kind):
        return [what[1:] for what in self.calls if what[0] == kind]

    def posted(self):
        return [number for _, numbers in self.numbers("post") for number in numbers]


class FakeWorker:
    """Carries rounds out by noting them."""

    def __init__(self, rank=0, world_size=1):
        self.rank, self.world_size, self.ran = rank, world_size, []

    def run(self, work):
        self.ran.append(work.number)
        return packed_of(work.number)


def rounds_of(*numbers, checkpoint=()):
    return [
        Round(number=number, train_architectures=None, architectures=None, checkpoint=number in checkpoint)
        for number in numbers
    ]


@pytest.fixture
def run_loop(monkeypatch):
    """Run a loop to its end; returns its broker, worker and the rounds after which it saved a checkpoint."""

    def run(work, start=0, rank=0, world_size=1):
        broker, worker = FakeBroker(work, start), FakeWorker(rank, world_size)
        monkeypatch.setattr(worker_module.ray, "get", lambda value: value)
        monkeypatch.setattr(worker_module, "save_checkpoint", lambda _, number: broker.note("save", number))
        monkeypatch.setattr(
            worker_module,
            "evaluate_network",
            lambda _, index, architecture: NetworkResult(
                index=index,
                validation_loss=float(sum(architecture)),
                validation_accuracy=0.0,
                test_accuracy=0.0,
                weights_path="",
            ),
        )
        WorkerLoop(worker, broker, "attempt").run()
        return broker, worker

    return run


INTERRUPTED = Ending(final_architectures=None)


def test_the_loop_carries_out_all_rounds_and_posts_each_once(run_loop):
    broker, worker = run_loop([rounds_of(0, 1, 2), rounds_of(3), rounds_of(4, 5), INTERRUPTED])
    assert worker.ran == [0, 1, 2, 3, 4, 5]
    assert broker.posted() == [0, 1, 2, 3, 4, 5]
    assert {attempt for attempt, _ in broker.numbers("post")} == {"attempt"}
    assert broker.numbers("take") == [(0,), (3,), (4,), (6,)]
    assert broker.calls[0] == ("begin", "attempt")


def test_the_loop_begins_where_the_broker_says(run_loop):
    broker, worker = run_loop([rounds_of(7), INTERRUPTED], start=7)
    assert worker.ran == [7]
    assert broker.numbers("take") == [(7,), (8,)]


def test_only_the_first_rank_posts(run_loop):
    broker, worker = run_loop([rounds_of(0, 1), INTERRUPTED], rank=1, world_size=2)
    assert worker.ran == [0, 1]
    assert broker.posted() == []


def test_a_checkpoint_follows_a_stamped_round_once_its_result_is_posted(run_loop):
    broker, _ = run_loop([rounds_of(0, 1, 2, checkpoint={1}), INTERRUPTED])
    assert broker.numbers("save") == [(2,), (3,)]  # after the stamped round, and at the end
    before = broker.calls[: broker.calls.index(("save", 2))]
    assert [number for what in before if what[0] == "post" for number in what[2]] == [0, 1]


@pytest.mark.parametrize("rank", [0, 1])
def test_every_rank_saves_after_the_same_rounds(run_loop, rank):
    broker, _ = run_loop([rounds_of(0, 1, 2, checkpoint={0, 2}), INTERRUPTED], rank=rank, world_size=2)
    assert broker.numbers("save") == [(1,), (3,), (3,)]


def test_an_interrupted_loop_saves_and_evaluates_nothing(run_loop):
    broker, _ = run_loop([INTERRUPTED], start=4)
    assert broker.numbers("save") == [(4,)]
    assert broker.numbers("network") == []


@pytest.mark.parametrize(("rank", "expected"), [(0, [(0,), (2,), (4,)]), (1, [(1,), (3,)])])
def test_ranks_share_the_final_networks(run_loop, rank, expected):
    ending = Ending(final_architectures=np.zeros((5, 2), int))
    broker, _ = run_loop([rounds_of(0), ending], rank=rank, world_size=2)
    assert broker.numbers("network") == expected
    assert broker.calls.index(("save", 1)) < broker.calls.index(("network", expected[0][0]))


def test_results_under_way_on_the_device_are_posted_before_a_checkpoint_and_before_the_loop_waits(
    run_loop, monkeypatch
):
    class Slow(Outbox):
        """Nothing arrives before somebody waits for it."""

        def add(self, number, packed, started_seconds):
            self._waiting.append((number, packed, Event(), started_seconds))

        def drain(self):
            for _, _, event, _ in self._waiting:
                event.synchronize()
            return self.ready()

    monkeypatch.setattr(worker_module, "Outbox", Slow)
    broker, _ = run_loop([rounds_of(0, 1, 2, 3, checkpoint={1}), rounds_of(4), INTERRUPTED])
    assert broker.posted() == [0, 1, 2, 3, 4]
    before_checkpoint = broker.calls[: broker.calls.index(("save", 2))]
    assert [what[2] for what in before_checkpoint if what[0] == "post"] == [[0, 1]]


@pytest.fixture
def reports(monkeypatch):
    """What is reported to Ray Train, with the files of its checkpoint read."""
    reports = []

    def report(metrics, checkpoint, **options):
        files = {} if checkpoint is None else {file.name: file for file in Path(checkpoint.path).iterdir()}
        reports.append((metrics, files, options))

    monkeypatch.setattr(worker_module.ray.train, "report", report)
    return reports


def test_a_checkpoint_is_plain_data_that_restores_the_worker(make_worker, reports, monkeypatch):
    worker = make_worker()
    work = Round(number=0, train_architectures=np.zeros((1, 6), int), architectures=None)
    worker.run(work)
    save_checkpoint(worker, 5)
    ((metrics, files, options),) = reports
    assert metrics == {"round": 5}
    assert list(files) == [CHECKPOINT_FILE]
    assert options["delete_local_checkpoint_after_upload"]
    state = torch.load(files[CHECKPOINT_FILE], weights_only=True)
    assert (state["version"], state["next_round"]) == (CHECKPOINT_VERSION, 5)
    restored = make_worker()
    folder = Checkpoint.from_directory(str(files[CHECKPOINT_FILE].parent))
    monkeypatch.setattr(worker_module.ray.train, "get_checkpoint", lambda: folder)
    worker_module._restore(restored)
    following = Round(number=1, train_architectures=np.zeros((1, 6), int), architectures=np.ones((2, 6), int))
    assert torch.equal(worker.run(following), restored.run(following))


def test_only_the_first_rank_writes_and_every_rank_reports(reports, make_worker):
    worker = make_worker()
    worker.rank = 1
    save_checkpoint(worker, 5)
    ((metrics, files, _),) = reports
    assert metrics == {"round": 5}
    assert files == {}


def test_without_a_checkpoint_the_weights_start_anew(make_worker, monkeypatch):
    monkeypatch.setattr(worker_module.ray.train, "get_checkpoint", lambda: None)
    worker, fresh = make_worker(), make_worker()
    worker_module._restore(worker)
    for one, other in zip(worker.supernet.parameters(), fresh.supernet.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_another_version_is_refused(make_worker, tmp_path, monkeypatch):
    worker = make_worker()
    torch.save({"version": 99, "next_round": 0, **worker.state_dict()}, tmp_path / CHECKPOINT_FILE)
    checkpoint = Checkpoint.from_directory(str(tmp_path))
    monkeypatch.setattr(worker_module.ray.train, "get_checkpoint", lambda: checkpoint)
    with pytest.raises(StateError) as caught:
        worker_module._restore(worker)
    assert str(caught.value) == "checkpoint of version 99, expected 1; start the run anew"


def test_one_process_agrees_with_itself_on_ever_new_attempts():
    assert worker_module._agree_on_attempt(1) != worker_module._agree_on_attempt(1)
