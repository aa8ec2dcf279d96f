"""The worker loop that Ray Train runs on every rank: pull rounds, carry them out, post their results."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections import deque
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from ray.train import Checkpoint, CheckpointUploadMode

from multinas_ray.data import load_splits
from multinas_ray.errors import StateError
from multinas_ray.train.finish import evaluate_network
from multinas_ray.train.messages import Ending, Round, RoundResult
from multinas_ray.train.rounds import RoundWorker
from multinas_ray.train.settings import WorkerJob

CHECKPOINT_VERSION = 1
CHECKPOINT_FILE = "supernet.pt"


def search_worker(config: dict[str, Any]) -> None:
    """Ray Train's entry point; `config["job"]` is a WorkerJob."""
    job: WorkerJob = config["job"]
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cpu":
        cores = os.cpu_count() or 1
        torch.set_num_threads(job.threads_per_worker or max(1, cores // context.get_local_world_size()))
    worker = RoundWorker(job, load_splits(job.data), device, rank, world_size)
    _restore(worker)
    loop = WorkerLoop(worker, ray.get_actor(job.broker, namespace=job.namespace), _agree_on_attempt(world_size))
    loop.run()


def _agree_on_attempt(world_size: int) -> str:
    """An id of this start of the worker group, the same on all its ranks and unlike that of any other."""
    attempt = [uuid.uuid4().hex]
    if world_size > 1:
        dist.broadcast_object_list(attempt)
    return attempt[0]


class WorkerLoop:
    """Carries out what the broker hands out until it hands out the ending.

    Ranks pull on their own and may get different numbers of rounds at once, but always the same rounds in the same
    order, so their collectives match. Rank 0 alone posts results.

    Args:
        worker: this rank's supernet.
        broker: the broker's actor handle.
        attempt: id of this start of the worker group.
    """

    def __init__(self, worker: RoundWorker, broker: Any, attempt: str) -> None:
        self._worker, self._broker, self._attempt = worker, broker, attempt
        self._outbox = Outbox()
        self._is_first = worker.rank == 0

    def run(self) -> None:
        """Work until the ending."""
        next_round: int = ray.get(self._broker.begin_attempt.remote(self._attempt))
        while True:
            work = ray.get(self._broker.take.remote(next_round))
            if isinstance(work, Ending):
                break
            for each in work:
                self._carry_out(each)
                next_round = each.number + 1
            self._post(self._outbox.drain())
        save_checkpoint(self._worker, next_round)
        for index, architecture in enumerate([] if work.final_architectures is None else work.final_architectures):
            if index % self._worker.world_size == self._worker.rank:
                result = evaluate_network(self._worker, index, tuple(map(int, architecture)))
                ray.get(self._broker.post_network.remote(result))

    def _carry_out(self, work: Round) -> None:
        started_seconds = time.perf_counter()
        packed = self._worker.run(work)
        self._outbox.add(work.number, packed, started_seconds)
        self._post(self._outbox.ready())
        if work.checkpoint:
            self._post(self._outbox.drain())
            save_checkpoint(self._worker, work.number + 1)

    def _post(self, results: list[RoundResult]) -> None:
        if results and self._is_first:
            self._broker.post.remote(self._attempt, results)


class Outbox:
    """Results on their way from the device, in order. On a GPU they are copied without making the host wait."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, torch.Tensor, torch.cuda.Event | None, float]] = deque()

    def add(self, number: int, packed: torch.Tensor, started_seconds: float) -> None:
        """Take the packed result of a round (see RoundWorker.run) and start its copy to the host."""
        event = None
        if packed.is_cuda:
            on_host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
            packed = on_host.copy_(packed, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
        self._waiting.append((number, packed, event, started_seconds))

    def ready(self) -> list[RoundResult]:
        """Those results that have arrived."""
        results = []
        while self._waiting and self._has_arrived(self._waiting[0][2]):
            results.append(self._unpack(*self._waiting.popleft()))
        return results

    @staticmethod
    def _has_arrived(event: torch.cuda.Event | None) -> bool:
        return event is None or bool(event.query())  # type: ignore[no-untyped-call]

    def drain(self) -> list[RoundResult]:
        """All results, waiting for those under way."""
        if self._waiting and self._waiting[-1][2] is not None:
            self._waiting[-1][2].synchronize()
        return self.ready()

    @staticmethod
    def _unpack(
        number: int, packed: torch.Tensor, event: torch.cuda.Event | None, started_seconds: float
    ) -> RoundResult:
        values = packed.tolist()
        half = 1 + len(values) // 2
        return RoundResult(
            number=number,
            train_loss=values[0],
            losses=tuple(values[1:half]),
            accuracies=tuple(values[half:]),
            compute_seconds=time.perf_counter() - started_seconds,
        )


def save_checkpoint(worker: RoundWorker, next_round: int) -> None:
    """Save the supernet through Ray Train: rank 0 writes, every rank reports. Uploaded beside the next rounds."""
    checkpoint = None
    if worker.rank == 0:
        folder = Path(tempfile.mkdtemp(prefix="multinas-"))
        state = {"version": CHECKPOINT_VERSION, "next_round": next_round, **worker.state_dict()}
        torch.save(state, folder / CHECKPOINT_FILE)
        checkpoint = Checkpoint.from_directory(folder)
    ray.train.report(
        {"round": next_round},
        checkpoint=checkpoint,
        checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
        delete_local_checkpoint_after_upload=True,
    )


def _restore(worker: RoundWorker) -> None:
    """Load the last checkpoint if there is one. Weight steps made since then are not repeated."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return
    with checkpoint.as_directory() as folder:
        state = torch.load(Path(folder) / CHECKPOINT_FILE, map_location=worker.device, weights_only=True)
    if state.get("version") != CHECKPOINT_VERSION:
        raise StateError(
            f"checkpoint of version {state.get('version')}, expected {CHECKPOINT_VERSION}; start the run anew"
        )
    worker.load_state_dict(state)
