"""The worker group: one of Ray Train for the whole search, in a thread of the driver beside the Tuner."""

from __future__ import annotations

import threading
from typing import Any

import ray
import ray.train

from multinas_ray.cluster import GroupTrainer, worker_resources
from multinas_ray.oneshot.job import WorkerJob
from multinas_ray.oneshot.worker import search_worker
from multinas_ray.storage import resolve


class WorkerGroup:
    """Starts the workers, and knows when they have ended and why.

    When a worker dies, Ray Train restarts the group, and its workers load the newest checkpoint of the run. Ray Train
    knows of no checkpoints itself, so that it cannot go on with others, or with none.

    Args:
        job: the settings of the run.
        name: name of this group, which no other group of the run has.
        num_workers: number of ranks.
        min_workers: number of ranks with which the group goes on while nodes are missing.
        use_gpu: give each rank one GPU, and use NCCL instead of gloo.
        cpus_per_worker: logical CPUs that each rank asks Ray for.
        max_failures: how often the group may be restarted before the search stops with an error; -1: without limit.
    """

    def __init__(
        self,
        job: WorkerJob,
        *,
        name: str,
        num_workers: int,
        min_workers: int,
        use_gpu: bool,
        cpus_per_worker: float,
        max_failures: int,
    ) -> None:
        workers = num_workers if min_workers == num_workers else (min_workers, num_workers)
        self._trainer = GroupTrainer(
            search_worker,
            train_loop_config={"job": job},
            scaling_config=ray.train.ScalingConfig(
                num_workers=workers,  # type: ignore[arg-type]  # a range too, its annotation lags behind
                use_gpu=use_gpu,
                resources_per_worker=worker_resources(cpus_per_worker, use_gpu),
            ),
            run_config=ray.train.RunConfig(
                name=name,
                storage_path=str(resolve(job.run_path).join("train")),
                failure_config=ray.train.FailureConfig(max_failures=max_failures),
            ),
        )
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._fit, name="worker-group", daemon=True)

    def start(self) -> None:
        """Start the workers, and return at once."""
        self._thread.start()

    def _fit(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:  # nobody would catch what a thread raises
            self.error = error

    @property
    def is_running(self) -> bool:
        """Whether the workers run or are being restarted."""
        return self._thread.is_alive()

    def end(self) -> None:
        """End the workers at once."""
        self._trainer.end()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the workers to return; returns False if they have not within the time."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()


class NoteReader:
    """Reads from the broker what the workers tell the person, without waiting for more.

    Args:
        broker: the actor handle of the broker.
    """

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._number = 0
        self._asked = broker.next_note.remote(0)

    def read(self) -> object | None:
        """Return the next note; None if there is none yet."""
        if not ray.wait([self._asked], timeout=0)[0]:
            return None
        note: object = ray.get(self._asked)
        self._number += 1
        self._asked = self._broker.next_note.remote(self._number)
        return note

    def read_rest(self, timeout_seconds: float) -> list[object]:
        """Return all notes that are left; call it when the workers have ended."""
        notes: list[object] = ray.get(self._broker.notes_from.remote(self._number), timeout=timeout_seconds)
        self._number += len(notes)
        return notes
