"""When the notices of a training's nodes want a checkpoint. Several real ranks: see test_network_training.py."""

import logging
import time

import pytest
import torch
import torch.distributed as dist

from multinas_ray.cluster.notices import GPU_STEPS, NoticedCheckpoints
from multinas_ray.cluster.spot import LAST_CHECKPOINT_SECONDS, SpotNotice

CPU = torch.device("cpu")


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(time, "monotonic", lambda: Clock.now)
    return Clock


def test_without_a_notice_none_is_due():
    assert not NoticedCheckpoints(CPU).is_due()


def test_one_is_due_at_the_notice_and_one_shortly_before_the_end(clock, caplog):
    checkpoints = NoticedCheckpoints(CPU)
    with caplog.at_level(logging.WARNING):
        checkpoints.tell(SpotNotice("10.0.0.7", 120.0))
    assert caplog.messages == [str(SpotNotice("10.0.0.7", 120.0))]
    assert [checkpoints.is_due(), checkpoints.is_due()] == [True, False]
    clock.now += 120.0 - LAST_CHECKPOINT_SECONDS - 1.0
    assert not checkpoints.is_due()
    clock.now += 1.0
    assert [checkpoints.is_due(), checkpoints.is_due()] == [True, False]


def test_a_step_that_outlasts_both_times_is_followed_by_one(clock):
    checkpoints = NoticedCheckpoints(CPU)
    checkpoints.tell(SpotNotice("10.0.0.7", 120.0))
    clock.now += 100.0
    assert [checkpoints.is_due(), checkpoints.is_due()] == [True, False]


def test_ranks_with_gpus_ask_each_other_now_and_then(clock, monkeypatch):
    asked = []
    tensor = torch.tensor
    monkeypatch.setattr(torch, "tensor", lambda value, device: tensor(value))
    monkeypatch.setattr(dist, "all_reduce", lambda told, operation: asked.append(bool(told)))
    checkpoints = NoticedCheckpoints(torch.device("cuda"), world_size=2)
    checkpoints.tell(SpotNotice("10.0.0.7", 30.0))
    is_due = [checkpoints.is_due() for _ in range(3 * GPU_STEPS)]
    assert asked == [True, False, False]
    assert [step for step, due in enumerate(is_due, 1) if due] == [GPU_STEPS]


def test_a_single_gpu_need_not_wait(clock):
    checkpoints = NoticedCheckpoints(torch.device("cuda"))
    checkpoints.tell(SpotNotice("10.0.0.7", 30.0))
    assert checkpoints.is_due()
