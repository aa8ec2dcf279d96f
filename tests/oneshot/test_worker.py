from types import SimpleNamespace
from typing import Any

import pytest
import ray
import ray.train.torch
import torch

from multinas_ray.cluster import SpotNotice
from multinas_ray.errors import StateError
from multinas_ray.oneshot import worker as worker_module
from multinas_ray.oneshot.handover import Handover
from multinas_ray.oneshot.messages import Ending, LostSteps
from multinas_ray.oneshot.worker import Outbox, WorkerLoop, search_worker
from tests.oneshot.fakes import FakeBroker, FakeWorker, SlowOutbox, made_up_store, rounds_of
from tests.support.numerics import settings_kept

INTERRUPTED = Ending()


@pytest.fixture
def ray_of(monkeypatch):
    """Replaces Ray: calls return at once, and ray.wait answers as told, then that all is there."""

    def replace(broker, answers=()):
        left = iter(answers)

        def wait(references, timeout):
            assert timeout == 0  # the device is waited for, not the broker
            return (references, []) if next(left, True) else ([], references)

        monkeypatch.setattr(ray, "get", lambda value: value)
        monkeypatch.setattr(ray, "wait", wait)
        monkeypatch.setattr(
            worker_module, "save_checkpoint", lambda _, __, number, when: broker.note("save", number, when)
        )

    return replace


@pytest.fixture
def run_loop(ray_of, make_job, monkeypatch):
    """Run a loop to its end; returns its broker, which has noted all that happened.

    `next_rounds_are_there`: the answers to whether the broker has handed out the next rounds, in turn.
    """

    def run(work, start=0, rank=0, world_size=1, next_rounds_are_there=(), store=None, **job):
        broker = FakeBroker(work if rank == 0 else ())
        handover = Handover(store or made_up_store()) if world_size > 1 else Handover()
        if rank > 0:
            give_all(handover, work, start)
        worker: Any = FakeWorker(broker, make_job(**{"num_weight_steps": 40, **job}), rank, world_size)
        ray_of(broker, next_rounds_are_there)
        monkeypatch.setattr(worker_module, "write_supernet", lambda *what: broker.note("supernet", *what))
        WorkerLoop(worker, broker, "attempt", handover).run(start)
        return broker

    return run


def give_all(handover, work, next_round):
    """Hand out what rank 0 would have taken."""
    for each in work:
        handover.give(next_round, each)
        next_round = next_round if isinstance(each, Ending) else each[-1].number + 1


def test_the_loop_carries_out_all_rounds_and_posts_each_once(run_loop):
    broker = run_loop([rounds_of(0, 1, 2), rounds_of(3), rounds_of(4, 5), INTERRUPTED])
    assert broker.notes("run") == [(0,), (1,), (2,), (3,), (4,), (5,)]
    assert broker.posted() == [0, 1, 2, 3, 4, 5]
    assert {attempt for attempt, _ in broker.notes("post")} == {"attempt"}
    assert broker.notes("take") == [(0,), (3,), (4,), (6,)]
    assert broker.notes("begin") == []  # the attempt is begun before the loop


@pytest.mark.parametrize("outbox", [Outbox, SlowOutbox])
def test_a_result_tells_what_its_own_round_sent_and_whether_a_checkpoint_follows(run_loop, monkeypatch, outbox):
    monkeypatch.setattr(worker_module, "Outbox", outbox)
    broker = run_loop([rounds_of(1, 2, 3, checkpoint={2}), INTERRUPTED], start=1)
    assert [(each.reduced_bytes, each.saved_bytes) for each in broker.results] == [
        (1, 10),
        (2, 20),
        (3, 30),
    ]
    assert [each.checkpoint_follows for each in broker.results] == [False, True, False]


def test_the_loop_begins_where_it_is_told(run_loop):
    broker = run_loop([rounds_of(7), INTERRUPTED], start=7)
    assert broker.notes("run") == [(7,)]
    assert broker.notes("take") == [(7,), (8,)]


def test_only_the_first_rank_posts(run_loop):
    broker = run_loop([rounds_of(0, 1), INTERRUPTED], rank=1, world_size=2)
    assert broker.notes("run") == [(0,), (1,)]
    assert broker.posted() == []


def test_the_first_rank_hands_on_what_it_takes_and_drops_what_is_done(run_loop):
    store = made_up_store()
    run_loop([rounds_of(0, 1), rounds_of(2), INTERRUPTED], world_size=2, store=store)
    assert [store.check([str(number)]) for number in (0, 2, 3)] == [False, False, True]  # the ending stays
    broker = run_loop([], start=3, rank=1, world_size=2, store=store)
    assert broker.notes("run") == []


def test_only_the_first_rank_asks_the_broker(run_loop):
    work = [rounds_of(3, 4), rounds_of(5), INTERRUPTED]
    of_first = run_loop(work, start=3, world_size=64)
    of_last = run_loop(work, start=3, rank=63, world_size=64)
    assert of_first.notes("take") == [(3,), (5,), (6,)]
    assert of_last.notes("take") == []
    assert of_first.notes("run") == of_last.notes("run") == [(3,), (4,), (5,)]


def test_a_checkpoint_follows_a_stamped_round_and_comes_at_the_end(run_loop):
    broker = run_loop([rounds_of(0, 1, 2, checkpoint={1}), INTERRUPTED])
    assert broker.notes("save") == [(2, "beside"), (3, "last")]
    before = broker.calls[: broker.calls.index(("save", 2, "beside"))]
    assert [what[1] for what in before if what[0] == "run"] == [0, 1]


@pytest.mark.parametrize("rank", [0, 1])
def test_every_rank_saves_after_the_same_rounds(run_loop, rank):
    broker = run_loop([rounds_of(0, 1, 2, checkpoint={0, 2}), INTERRUPTED], rank=rank, world_size=2)
    assert broker.notes("save") == [(1, "beside"), (3, "beside"), (3, "last")]


@pytest.mark.parametrize("rank", [0, 1])
def test_the_weights_at_the_end_of_their_training_are_stored_before_any_round_follows(run_loop, rank):
    work = [rounds_of(0, 1, 2, 3, checkpoint={0, 1, 2}), INTERRUPTED]
    broker = run_loop(work, rank=rank, world_size=2, num_weight_steps=2, weights_first=True)
    assert broker.notes("save") == [(1, "beside"), (2, "first"), (3, "beside"), (4, "last")]


@pytest.mark.usefixtures("slow_device")
@pytest.mark.parametrize("job", [{"num_weight_steps": 2, "weights_first": True}, {"warmup_rounds": 2}])
def test_the_last_round_of_the_warm_up_is_done_only_once_its_weights_are_stored(run_loop, job):
    broker = run_loop([rounds_of(0, 1, 2, checkpoint={1}), INTERRUPTED], **job)
    before = broker.calls[: broker.calls.index(("save", 2, "first"))]
    assert 1 not in [number for what in before if what[0] == "post" for number in what[2]]
    assert broker.posted() == [0, 1, 2]


def test_after_an_error_no_checkpoint_is_saved(run_loop):
    broker = run_loop([rounds_of(0), Ending(checkpoint=False)])
    assert broker.notes("save") == []


def test_an_interrupted_loop_saves_a_checkpoint_only(run_loop):
    broker = run_loop([INTERRUPTED], start=4)
    assert broker.notes("save") == [(4, "last")]
    assert broker.notes("supernet") == []


def test_at_the_end_of_the_search_the_first_rank_writes_the_supernet(run_loop):
    broker = run_loop([rounds_of(0), Ending(supernet=True)], world_size=2, run_path="the run")
    assert broker.notes("supernet") == [("the weights", "the run")]
    assert broker.calls[-2] == ("save", 1, "last")  # a checkpoint first: if writing fails, the weights are not lost
    broker = run_loop([rounds_of(0), Ending(supernet=True)], rank=1, world_size=2)
    assert broker.notes("supernet") == []


@pytest.fixture
def slow_device(monkeypatch):
    """Nothing is done on the device before somebody waits for it."""
    monkeypatch.setattr(worker_module, "Outbox", SlowOutbox)


@pytest.mark.usefixtures("slow_device")
def test_results_are_posted_one_by_one_until_the_next_rounds_are_there(run_loop):
    work = [rounds_of(0, 1, 2), rounds_of(3), INTERRUPTED]
    broker = run_loop(work, next_rounds_are_there=[False, False, True])
    assert broker.calls == [
        ("take", 0),
        ("run", 0),
        ("run", 1),
        ("run", 2),
        ("take", 3),  # asked for before the device is done
        ("post", "attempt", [0]),
        ("post", "attempt", [1]),
        ("run", 3),  # round 2 is still on the device
        ("take", 4),
        ("post", "attempt", [2, 3]),
        ("save", 4, "last"),
    ]


@pytest.mark.usefixtures("slow_device")
def test_all_results_are_posted_where_the_next_rounds_depend_on_them(run_loop):
    work = [rounds_of(0, 1), rounds_of(2), INTERRUPTED]
    broker = run_loop(work, next_rounds_are_there=[False] * 10)
    assert [numbers for _, numbers in broker.notes("post")] == [[0], [1], [2]]
    assert broker.calls.index(("post", "attempt", [1])) < broker.calls.index(("run", 2))


@pytest.mark.usefixtures("slow_device")
def test_results_under_way_are_posted_before_a_checkpoint(run_loop):
    broker = run_loop([rounds_of(0, 1, 2, checkpoint={1}), INTERRUPTED])
    before = broker.calls[: broker.calls.index(("save", 2, "beside"))]
    assert [what[2] for what in before if what[0] == "post"] == [[0, 1]]
    assert broker.posted() == [0, 1, 2]


@pytest.fixture
def run_worker(ray_of, make_job, splits, monkeypatch):
    """Run the whole entry point as the only rank, on a broker that notes all that happens."""

    def run(broker, restored_round, local_rank=0, **job):
        ray_of(broker)
        context = SimpleNamespace(
            get_world_rank=lambda: 0,
            get_world_size=lambda: 1,
            get_local_rank=lambda: local_rank,
            get_local_world_size=lambda: 1,
        )
        runtime = SimpleNamespace(current_actor="this worker")
        monkeypatch.setattr(ray, "get_runtime_context", lambda: runtime)
        monkeypatch.setattr(worker_module, "watch_for_notices", lambda _: broker.note("watch"))
        monkeypatch.setattr(ray.train, "get_context", lambda: context)
        monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cpu"))
        monkeypatch.setattr(worker_module, "load_splits", lambda _: splits)
        monkeypatch.setattr(worker_module, "_restore", lambda _: broker.note("restore") or restored_round)
        monkeypatch.setattr(ray, "get_actor", lambda *names, **more: broker.note(*names, more) or broker)
        search_worker({"job": make_job(**job)})

    return run


def test_a_worker_restores_begins_an_attempt_and_works_from_its_first_round(run_worker):
    broker = FakeBroker([rounds_of(7), INTERRUPTED], start=7)
    run_worker(broker, restored_round=7)
    ((attempt, _),) = broker.notes("begin")
    assert broker.calls == [
        ("restore",),
        ("broker", {"namespace": "tests"}),
        ("begin", attempt, "this worker"),
        ("watch",),
        ("take", 7),
        ("post", attempt, [7]),
        ("take", 8),
        ("save", 8, "last"),
    ]


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_worker_computes_deterministically_where_that_is_asked_for(run_worker, deterministic):
    with settings_kept():
        run_worker(FakeBroker([INTERRUPTED]), restored_round=0, deterministic=deterministic)
        assert torch.are_deterministic_algorithms_enabled() == deterministic


def test_one_worker_of_a_node_watches_for_its_notice(run_worker):
    broker = FakeBroker([INTERRUPTED])
    run_worker(broker, restored_round=0, local_rank=1)
    assert broker.notes("watch") == []


def test_a_notice_reaches_the_broker_with_the_nodes_address(monkeypatch):
    broker = FakeBroker([])
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "10.0.0.7")
    monkeypatch.setattr(worker_module, "SpotWatch", lambda tell: SimpleNamespace(start=lambda: tell(118.0)))
    worker_module.watch_for_notices(broker)
    assert broker.notes("notice") == [(SpotNotice("10.0.0.7", 118.0),)]


def test_a_worker_without_the_trained_weights_takes_no_round(run_worker):
    broker = FakeBroker([rounds_of(7), INTERRUPTED], start=7)
    with pytest.raises(StateError, match=r"after all 5 weight steps of the warm-up, the newest in .* are of step 3:"):
        run_worker(broker, restored_round=3, num_weight_steps=5, weights_first=True)
    assert [what[0] for what in broker.calls] == ["restore", "broker", "begin"]


def test_damaged_images_are_named_in_the_runs_folder_or_there_is_none(tmp_path):
    worker_module.write_damaged_images(str(tmp_path), 3, ())
    assert list(tmp_path.iterdir()) == []
    worker_module.write_damaged_images(str(tmp_path), 3, ("größe.jpg cannot be decoded", "b.jpg is no image"))
    text = (tmp_path / "damaged_images" / "3.txt").read_text(encoding="utf-8")
    assert text == "größe.jpg cannot be decoded\nb.jpg is no image\n"


def test_lost_weight_steps_are_told_to_the_driver(run_worker):
    broker = FakeBroker([INTERRUPTED], start=7)
    run_worker(broker, restored_round=5)
    assert broker.notes("tell") == [(LostSteps(weights_round=5, number=2),)]


def test_one_process_agrees_with_itself():
    assert worker_module._agree("attempt", 1) == "attempt"
