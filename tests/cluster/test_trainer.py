"""A worker group that is controlled from the thread which calls `fit`, on a real local Ray."""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import ray.train

from multinas_ray.cluster import GroupTrainer
from tests.support.local_ray import local_ray

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(200)]


def wait_long(config: dict[str, Any]) -> None:
    """What a worker does: it tells that it runs, and waits."""
    (Path(config["folder"]) / str(os.getpid())).touch()
    time.sleep(600)


class Fit:
    """A group that is fitted in a thread, as in a search."""

    def __init__(self, folder: Path, cpus: float = 1.0) -> None:
        folder.mkdir()
        self.folder = folder
        self.error: BaseException | None = None
        self.trainer = GroupTrainer(
            wait_long,
            train_loop_config={"folder": str(folder)},
            scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": cpus}),
            run_config=ray.train.RunConfig(
                name=folder.name, storage_path=str(folder), failure_config=ray.train.FailureConfig(max_failures=-1)
            ),
        )
        self.thread = threading.Thread(target=self._fit, daemon=True)
        self.thread.start()

    def _fit(self) -> None:
        try:
            self.trainer.fit()
        except BaseException as error:
            self.error = error

    def pid(self) -> int:
        """The process of the worker, which is waited for."""
        assert becomes(lambda: any(each.name.isdigit() for each in self.folder.iterdir()), 60.0)
        return int(next(each.name for each in self.folder.iterdir() if each.name.isdigit()))

    def has_ended(self) -> bool:
        """Whether `fit` has raised, after a while."""
        self.thread.join(30.0)
        return not self.thread.is_alive() and self.error is not None


def becomes(condition: Any, seconds: float = 20.0) -> bool:
    """Whether a condition holds within the time."""
    for _ in range(int(10 * seconds)):
        if condition():
            return True
        time.sleep(0.1)
    return bool(condition())


def test_a_group_needs_no_actor_for_its_control_and_is_ended_from_another_thread(tmp_path: Path) -> None:
    logger = logging.getLogger("ray.train")
    before = logger.level, logger.propagate, list(logger.handlers)
    with local_ray():
        running = Fit(tmp_path / "running")
        pid = running.pid()
        titles = [" ".join(each.cmdline()) for each in psutil.Process().children(recursive=True)]
        assert any("RayTrainWorker" in title for title in titles)
        assert not any("Controller" in title for title in titles)
        running.trainer.end()
        assert running.has_ended()
        assert becomes(lambda: not psutil.pid_exists(pid))

        waiting = Fit(tmp_path / "waiting", cpus=64.0)
        time.sleep(1.0)
        waiting.trainer.end()
        assert waiting.has_ended()
        assert becomes(lambda: ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"])

        left = Fit(tmp_path / "left")
        left.pid()
    assert left.has_ended()
    assert not ray.is_initialized(), "it would start another Ray"
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
