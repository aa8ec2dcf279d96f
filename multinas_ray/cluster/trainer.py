"""Ray Train's worker group as a part of a larger run, which ends with it."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import AsyncioActorExit
from ray.train import Result
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.failure_handling import FailureDecision
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import PlacementGroupHandle
from ray.train.v2._internal.logging.logging import LoggingManager
from ray.util.placement_group import PlacementGroup

from multinas_ray.cluster.failures import LastingErrorsEnd


class GroupTrainer(TorchTrainer):
    """A TorchTrainer that can be ended, and tries nothing again that would end the same.

    Ray Train starts further actors for each group, each a process of some seconds and hundreds of MB, and some of
    them stay. Four are left out:

    - The controller, which starts and watches the workers, runs in the thread that calls `fit`.
    - One removes the group's placement group, and stays for ever on a cluster that outlives the driver. Ray removes
      the placement group with the process that called `fit` anyway.
    - One hands out Ray Data's data sets; these workers read their data themselves.
    - One shares the nodes between Ray Data and Ray Train. Without it the placement group asks the autoscaler for nodes.
      A group that may go on with fewer workers keeps it: it is what tells how many there may be.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._end = _End()

    def end(self) -> None:
        """End the workers at once, from any thread, whether they run or are being started; `fit` then raises."""
        self._end.come()

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()  # type: ignore[misc]
        return [self._end, *(each for each in callbacks if type(each).__name__ not in _LEFT_OUT)]

    def _initialize_and_run_controller(self, **settings: Any) -> Result:
        scaling: Any = self.scaling_config  # Ray's annotations name an older class
        settings["failure_policy"] = _Policy(self.run_config.failure_config, self._end)
        if not scaling.elasticity_enabled:
            settings["scaling_policy"] = _FixedWithoutCoordinator(scaling)
        # It would take over the logging of this process, and close the files of others.
        os.environ.setdefault("RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING", "0")
        with _logged_to_file():
            controller: Any = _Controller(**settings)
            asyncio.run(controller.run())
            result: Result = controller.get_result()
        return result


@contextmanager
def _logged_to_file() -> Iterator[None]:
    """Write what Ray Train tells into a file among Ray's logs, as its own process would, and not to the terminal."""
    logger = logging.getLogger("ray.train")
    folder = Path(LoggingManager.get_log_directory() or tempfile.gettempdir())
    folder.mkdir(parents=True, exist_ok=True)
    process = ray.get_runtime_context().get_worker_id()
    handler = logging.FileHandler(folder / f"ray-train-controller-{process}.log", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before[0])  # which the loggers below it notice, as they would not if it was only assigned
        logger.propagate = before[1]
        logger.removeHandler(handler)
        handler.close()


LOOK_SECONDS = 1.0
"""How long a placement group is waited for before it is looked whether the group shall end."""
REGISTER_SECONDS = 1.0
"""Time for workers to be known to Ray after their placement group is ready. One that is removed in between would keep
them waiting for ever."""
_LEFT_OUT = ("PlacementGroupCleanerCallback", "DatasetsCallback")


class _End(WorkerGroupCallback):
    """Whether a group shall end, and the placement group in which its workers are, with which they end."""

    def __init__(self) -> None:
        self._has_come = threading.Event()
        self._placement: PlacementGroupHandle | None = None
        self._ready_seconds = -math.inf

    @property
    def has_come(self) -> bool:
        return self._has_come.is_set()

    def come(self) -> None:
        self._has_come.set()
        if self._placement is not None:
            time.sleep(max(0.0, self._ready_seconds + REGISTER_SECONDS - time.monotonic()))
            self._placement.shutdown()

    def taken(self, placement: PlacementGroupHandle) -> _Placement:
        """Take the placement group of workers that are about to be started."""
        self._placement, self._ready_seconds = placement, -math.inf
        return _Placement(placement, self)

    def may_start(self) -> bool:
        """Whether workers may be started now that their placement group is ready."""
        self._ready_seconds = time.monotonic()  # first, since the end may come in between
        return not self.has_come


class _Placement(PlacementGroupHandle):
    """A placement group that is not waited for once its group shall end: one that is removed would never be ready."""

    def __init__(self, handle: PlacementGroupHandle, end: _End) -> None:
        self._handle, self._end = handle, end

    @property
    def placement_group(self) -> PlacementGroup:
        return self._handle.placement_group

    def ready(self) -> Any:
        return self._handle.ready()

    def wait(self, timeout_seconds: float = 30) -> bool:
        until = time.monotonic() + timeout_seconds
        while not self._end.has_come and (left := until - time.monotonic()) > 0:
            if self._handle.wait(min(left, LOOK_SECONDS)):
                return self._end.may_start()
        return False

    def shutdown(self) -> None:
        self._handle.shutdown()


class _Policy(LastingErrorsEnd):
    """Starts no group again that shall end."""

    def __init__(self, failure_config: Any, end: _End) -> None:
        super().__init__(failure_config)
        self._end = end

    def make_decision(self, training_failed_error: Any) -> FailureDecision:
        return FailureDecision.RAISE if self._end.has_come else super().make_decision(training_failed_error)


class _Group(WorkerGroup):
    """Tells its placement group, and its controller is no actor."""

    def _create_placement_group(self, *arguments: Any) -> PlacementGroupHandle:
        placement: PlacementGroupHandle = super()._create_placement_group(*arguments)
        (end,) = (each for each in self._callbacks if isinstance(each, _End))
        return end.taken(placement)

    def poll_status(self, timeout: float | None = None) -> Any:
        _end_with_ray()
        return super().poll_status(timeout)

    def _init_train_context_on_workers(self, workers: Any, sync_actor: Any, train_context_args: Any) -> None:
        started = [
            worker.actor.init_train_context.remote(
                train_run_context=self._train_run_context,
                distributed_context=worker.distributed_context,
                synchronization_actor=sync_actor,
                storage_context=self._storage_context,
                worker_callbacks=self._worker_callbacks_to_propagate,
                controller_actor=None,  # workers would ask it for checkpoints, which these take from the run
                **{name: values[place] for name, values in train_context_args.items()},
            )
            for place, worker in enumerate(workers)
        ]
        ray.get(started)
        self._decorate_worker_log_file_paths(workers)


class _Controller(TrainController):
    worker_group_cls = _Group

    async def _run_control_loop_iteration(self) -> None:
        _end_with_ray()
        await super()._run_control_loop_iteration()  # type: ignore[no-untyped-call]


def _end_with_ray() -> None:
    """End the group with the Ray of its process: whatever it asks of Ray after that would start another one."""
    if not ray.is_initialized():
        raise AsyncioActorExit("Ray was shut down while the workers ran")  # as Ray Train ends its own controller


class _FixedWithoutCoordinator(FixedScalingPolicy):
    """As many workers as the settings say, without the actor that shares nodes with Ray Data."""

    def after_controller_start(self, train_run_context: Any) -> None:
        """Ask nobody for resources."""

    def _maybe_send_resource_request(self) -> None:
        """Ask nobody for resources."""
