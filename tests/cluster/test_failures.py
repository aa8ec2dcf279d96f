"""What failed in workers, from errors as Ray gives them. No Ray is started."""

import logging
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayTaskError
from ray.train import WorkerGroupError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2._internal.logging.logging import LoggingManager
from ray.train.v2._internal.util import construct_user_exception_with_traceback
from ray.train.v2.api import data_parallel_trainer
from ray.train.v2.api.config import FailureConfig, RunConfig, ScalingConfig

from multinas_ray.cluster import trainer as trainer_module
from multinas_ray.cluster.failures import LOWER_MEMORY, LastingErrorsEnd, cause_of, own_error, would_come_again
from multinas_ray.cluster.trainer import GroupTrainer
from multinas_ray.errors import ConfigError, DataError, RunError, StorageError, UnreadableError


def of_worker(error: Exception) -> WorkerGroupError:
    """What Ray Train raises if the function of a worker raised an error."""
    try:
        raise error
    except Exception as raised:
        wrapped = construct_user_exception_with_traceback(raised)
    text = f"Worker rank 0 error:\n{wrapped}\nRefer to the documentation: https://docs.ray.io"
    return WorkerGroupError(text, {0: wrapped})


def of_task(error: Exception) -> Exception:
    """What `ray.get` raises if a task raised an error."""
    return RayTaskError("evaluate", f"Traceback ...\n{type(error).__name__}: {error}", error).as_instanceof_cause()


DIED_IN_ITS_START = RayActorError(
    error_msg="The actor died because of an error raised in its creation task, ray::Evaluator.__init__() (pid=1)\n"
    "  File ..., line 3, in load\n"
    "multinas_ray.errors.DataError: photos has no images: give another folder\n"
)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (of_worker(DataError("no images: give some")), DataError),
        (of_worker(ConfigError("too many: give fewer")), ConfigError),
        (of_worker(RunError("diverged: lower it")), RunError),
        (of_task(DataError("no images: give some")), DataError),
        (DIED_IN_ITS_START, DataError),
    ],
)
def test_an_error_of_this_package_comes_out_as_it_is_and_is_not_tried_again(error, kind):
    own = own_error(error)
    assert type(own) is kind or kind in type(own).__mro__
    assert "\n" not in str(own)
    assert ": " in str(own)
    assert would_come_again(error)
    assert LastingErrorsEnd(FailureConfig(max_failures=-1)).make_decision(error) is FailureDecision.RAISE


@pytest.fixture
def settings_of(monkeypatch):
    """What the controller of a group is made with, by its number of workers; and the group."""

    def run(num_workers):
        made = []

        class Controller:
            def __init__(self, **settings):
                made.append(settings)

            async def run(self):
                return None

            def get_result(self):
                return "the result"

        monkeypatch.setattr(trainer_module, "_Controller", Controller)
        monkeypatch.setattr(trainer_module, "_logged_to_file", nullcontext)
        trainer: Any = GroupTrainer(
            lambda: None,
            scaling_config=ScalingConfig(num_workers=num_workers),
            run_config=RunConfig(name="a-group", failure_config=FailureConfig(max_failures=3)),
        )
        given = {"failure_policy": "Ray's own", "scaling_policy": "Ray's own", "other": 1}
        assert trainer._initialize_and_run_controller(**given) == "the result"
        return trainer, made[0]

    return run


def test_a_group_of_workers_is_started_by_that_policy(settings_of):
    _, settings = settings_of(3)
    assert isinstance(settings["failure_policy"], LastingErrorsEnd)
    decision = settings["scaling_policy"].make_decision_for_non_running_worker_group()
    assert decision.num_workers == 3  # and no actor was asked: there is no Ray
    assert settings["other"] == 1


def test_a_group_that_may_go_on_with_fewer_workers_keeps_rays_policy_for_their_number(settings_of):
    assert settings_of((1, 3))[1]["scaling_policy"] == "Ray's own"


def test_a_group_that_shall_end_is_not_started_again(settings_of):
    trainer, settings = settings_of(3)
    lost = WorkerGroupError("lost", {0: RayActorError()})
    assert settings["failure_policy"].make_decision(lost) is FailureDecision.RETRY
    trainer.end()
    assert settings["failure_policy"].make_decision(lost) is FailureDecision.RAISE


class Placement:
    """A placement group that gets its place when it is waited for the third time."""

    def __init__(self):
        self.waits, self.was_removed = [], False

    def wait(self, seconds):
        self.waits.append(seconds)
        return len(self.waits) == 3

    def shutdown(self):
        self.was_removed = True


def test_workers_have_no_place_once_their_group_shall_end(monkeypatch):
    clock = SimpleNamespace(now=100.0, slept=[])
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=clock.slept.append))
    end, given = trainer_module._End(), Placement()
    assert end.taken(given).wait(30.0)  # type: ignore[arg-type]
    assert given.waits == [trainer_module.LOOK_SECONDS] * 3
    clock.now += 0.25
    end.come()
    assert clock.slept == [0.75], "workers that are being started would wait for ever"
    assert given.was_removed
    late = Placement()
    assert not end.taken(late).wait(30.0)  # type: ignore[arg-type]
    assert late.waits == [], "one that is removed would be waited for without end"


def test_workers_are_not_started_where_the_end_comes_while_their_place_is_waited_for():
    end = trainer_module._End()

    class Ready(Placement):
        def wait(self, seconds):
            end.come()
            return True

    assert not end.taken(Ready()).wait(30.0)  # type: ignore[arg-type]


def test_a_place_is_waited_for_no_longer_than_was_asked():
    given = Placement()
    assert not trainer_module._End().taken(given).wait(0.0)  # type: ignore[arg-type]
    assert given.waits == []


def test_what_ray_train_tells_goes_to_a_file_until_the_group_has_ended(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(LoggingManager, "get_log_directory", lambda: str(tmp_path / "logs"))
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_worker_id=lambda: "id"))
    above, below = logging.getLogger("ray.train"), logging.getLogger("ray.train.of_this_test")
    caplog.set_level(logging.ERROR, "ray.train")
    before = above.level, above.propagate, list(above.handlers)
    assert not below.isEnabledFor(logging.INFO)
    with trainer_module._logged_to_file():
        below.info("a group of size 3")
    assert "a group of size 3" in (tmp_path / "logs" / "ray-train-controller-id.log").read_text()
    assert caplog.text == ""
    assert (above.level, above.propagate, above.handlers) == before
    assert not below.isEnabledFor(logging.INFO)


def test_actors_that_a_group_does_not_need_are_left_out(monkeypatch):
    kinds = ("PlacementGroupCleanerCallback", "DatasetsCallback", "BackendSetupCallback")
    callbacks = [type(name, (), {})() for name in kinds]
    monkeypatch.setattr(TorchTrainer, "_create_default_callbacks", lambda self: callbacks)
    trainer: Any = object.__new__(GroupTrainer)
    trainer._end = object()
    assert trainer._create_default_callbacks() == [trainer._end, callbacks[2]]
    assert all(hasattr(data_parallel_trainer, name) for name in kinds), "these are the names that Ray gives them"


def test_its_text_is_the_whole_line():
    assert str(own_error(of_worker(DataError("no images: give some")))) == "no images: give some"
    assert str(own_error(DIED_IN_ITS_START)) == "photos has no images: give another folder"


@pytest.mark.parametrize(
    "error",
    [
        of_worker(ZeroDivisionError("division by zero")),
        of_worker(StorageError(28, "the disk is full: make room")),
        of_worker(UnreadableError("s3://bucket/file cannot be read: try again")),
        WorkerGroupError("lost", {0: OutOfMemoryError("killed due to the node running low on memory")}),
    ],
)
def test_what_may_pass_is_tried_again(error):
    assert not would_come_again(error)
    policy = LastingErrorsEnd(FailureConfig(max_failures=1))
    decisions = [policy.make_decision(error) for _ in range(2)]
    assert decisions == [FailureDecision.RETRY, FailureDecision.RAISE]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (of_worker(ZeroDivisionError("division by zero")), "ZeroDivisionError: division by zero"),
        (of_worker(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), LOWER_MEMORY),
        (of_worker(MemoryError("Unable to allocate")), LOWER_MEMORY),
        (
            WorkerGroupError("x", {0: OutOfMemoryError("the node was running low on memory")}),
            "lack of",
        ),
        (WorkerGroupError("x", {0: RayActorError()}), "ended from outside, or its node is gone"),
    ],
)
def test_a_cause_is_one_line_and_never_a_link(error, text):
    told = cause_of(error)
    assert text in told
    assert "\n" not in told
    assert "docs.ray.io" not in told


def test_a_process_that_ended_without_a_word_is_not_blamed_on_memory():
    guesses = "Some common causes include: (1) the process was killed by the OOM killer due to high memory usage"
    error = RayActorError(error_msg=f"The actor is dead because its worker process has died. {guesses}")
    assert cause_of(error) == "a process was ended from outside, or its node is gone"
