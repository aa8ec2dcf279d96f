"""The worker loop that Ray Train runs on every rank: it pulls rounds, computes them and posts their results."""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from ray.train import Checkpoint, CheckpointUploadMode

from multinas_ray.cluster import SpotNotice, SpotWatch
from multinas_ray.data import load_splits
from multinas_ray.errors import StateError
from multinas_ray.oneshot.job import WorkerJob
from multinas_ray.oneshot.messages import Ending, Round, RoundResult
from multinas_ray.oneshot.rounds import RoundWorker, Traffic
from multinas_ray.storage import make_folder, open_atomic, resolve, write_atomic
from multinas_ray.supernets import write_supernet

logger = logging.getLogger(__name__)

CHECKPOINT_VERSION = 1
CHECKPOINT_FILE = "supernet.pt"
DAMAGED_FOLDER = "damaged_images"


def search_worker(config: dict[str, Any]) -> None:
    """The entry point of Ray Train; `config["job"]` is a WorkerJob."""
    job: WorkerJob = config["job"]
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # the device on which NCCL puts the objects that it broadcasts
    else:
        cores = os.cpu_count() or 1
        torch.set_num_threads(job.threads_per_worker or max(1, cores // context.get_local_world_size()))
    worker = RoundWorker(job, load_splits(job.data), device, rank, world_size)
    restored_round = _restore(worker)
    broker = ray.get_actor(job.broker, namespace=job.namespace)
    attempt = _agree_on_attempt(world_size)
    first_round: Any = ray.get(broker.begin_attempt.remote(attempt, ray.get_runtime_context().current_actor))
    check_weights(job, restored_round, first_round)
    if context.get_local_rank() == 0:
        watch_for_notices(broker)
    WorkerLoop(worker, broker, attempt).run(first_round)
    write_damaged_images(job.run_path, rank, worker.damaged_images)


def watch_for_notices(broker: Any) -> None:
    """Tell the broker when the cloud is about to take this node back. One rank of a node is enough for this."""
    node = ray.util.get_node_ip_address()
    SpotWatch(lambda seconds_left: broker.spot_notice.remote(SpotNotice(node, seconds_left))).start()


def write_damaged_images(run_path: str, rank: int, damaged_images: Sequence[str]) -> None:
    """Write the images that a rank could not decode into `<run>/damaged_images/<rank>.txt`, one per line, if any."""
    if damaged_images:
        folder = resolve(run_path).join(DAMAGED_FOLDER)
        make_folder(folder)
        write_atomic(folder.join(f"{rank}.txt"), "\n".join([*damaged_images, ""]).encode())


def _agree_on_attempt(world_size: int) -> str:
    """Return an id of this start of the worker group, which is the same on all ranks and unique."""
    attempt = [uuid.uuid4().hex]
    if world_size > 1:
        dist.broadcast_object_list(attempt)
    return attempt[0]


class WorkerLoop:
    """Computes the rounds that the broker hands out, until it hands out the ending.

    Each rank pulls by itself and may get more or fewer rounds at once than others. But all ranks get the same rounds in
    the same order, so their collectives match. Only rank 0 posts results.

    Args:
        worker: the supernet of this rank.
        broker: the actor handle of the broker.
        attempt: id of this start of the worker group.
    """

    def __init__(self, worker: RoundWorker, broker: Any, attempt: str) -> None:
        self._worker, self._broker, self._attempt = worker, broker, attempt
        self._outbox = Outbox()
        self._is_first = worker.rank == 0

    def run(self, first_round: int) -> None:
        """Compute rounds from `first_round` until the ending."""
        next_round = first_round
        while not isinstance(work := self._take(next_round), Ending):
            for each in work:
                self._carry_out(each)
                next_round = each.number + 1
        if work.checkpoint:
            save_checkpoint(self._worker, next_round)
        if work.supernet and self._is_first:
            write_supernet(self._worker.supernet, self._worker.job.run_path)

    def _take(self, next_round: int) -> list[Round] | Ending:
        """Return the next rounds; meanwhile results are posted one by one as the device finishes them."""
        taken = self._broker.take.remote(next_round)
        while len(self._outbox) and not ray.wait([taken], timeout=0)[0]:
            self._post([self._outbox.wait_for_one()])
        work: list[Round] | Ending = ray.get(taken)
        if isinstance(work, Ending):
            self._post(self._outbox.drain())
        return work

    def _carry_out(self, work: Round) -> None:
        started_seconds = time.perf_counter()
        packed = self._worker.run(work)
        self._outbox.add(work, packed, started_seconds, self._worker.traffic)
        if work.checkpoint:
            # With weights first, the last round of the training counts as done only after its weights are stored.
            training_ends = self._worker.job.weights_first and work.number + 1 == self._worker.job.num_weight_steps
            if not training_ends:
                self._post(self._outbox.drain())
            save_checkpoint(self._worker, work.number + 1, wait=training_ends)
        self._post(self._outbox.ready())

    def _post(self, results: list[RoundResult]) -> None:
        if results and self._is_first:
            self._broker.post.remote(self._attempt, results)


class Underway(NamedTuple):
    """A round whose results are still on their way from the device."""

    work: Round
    packed: torch.Tensor
    """The packed result, see `RoundWorker.run`."""
    event: torch.cuda.Event | None
    """Occurs when the copy on the host is complete; None if the result was computed on the host."""
    started_seconds: float
    traffic: Traffic


class Outbox:
    """The results on their way from the device, in order. They are copied from a GPU without making the host wait."""

    def __init__(self) -> None:
        self._waiting: deque[Underway] = deque()
        self._last_arrival_seconds = -math.inf

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, work: Round, packed: torch.Tensor, started_seconds: float, traffic: Traffic) -> None:
        """Take the packed result of a round, see `RoundWorker.run`, and start its copy to the host."""
        event = None
        if packed.is_cuda:
            on_host = torch.empty(packed.shape, dtype=packed.dtype, pin_memory=True)
            packed = on_host.copy_(packed, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._waiting.append(Underway(work, packed, event, started_seconds, traffic))

    def ready(self) -> list[RoundResult]:
        """Return the results that have arrived."""
        results = []
        while self._waiting and self._has_arrived(self._waiting[0].event):
            results.append(self._unpack(self._waiting.popleft()))
        return results

    @staticmethod
    def _has_arrived(event: torch.cuda.Event | None) -> bool:
        return event is None or bool(event.query())

    def wait_for_one(self) -> RoundResult:
        """Wait for the oldest result and return it."""
        event = self._waiting[0].event
        if event is not None:
            event.synchronize()
        return self._unpack(self._waiting.popleft())

    def drain(self) -> list[RoundResult]:
        """Wait for all results and return them."""
        if self._waiting and (event := self._waiting[-1].event) is not None:
            event.synchronize()
        return self.ready()

    def _unpack(self, arrived: Underway) -> RoundResult:
        train_loss, *values = arrived.packed.tolist()
        losses, accuracies = values[: len(values) // 2], values[len(values) // 2 :]
        # A device computes rounds one after the other, so this one began when the one before it arrived.
        now, since = time.perf_counter(), max(arrived.started_seconds, self._last_arrival_seconds)
        self._last_arrival_seconds = now
        return RoundResult(
            round=arrived.work.number,
            train_loss=train_loss,
            losses=tuple(loss if math.isfinite(loss) else math.inf for loss in losses),
            accuracies=tuple(accuracies),
            compute_seconds=now - since,
            reduced_bytes=arrived.traffic.reduced_bytes,
            saved_bytes=arrived.traffic.saved_bytes,
            checkpoint_follows=arrived.work.checkpoint,
        )


def save_checkpoint(worker: RoundWorker, next_round: int, *, wait: bool = False) -> None:
    """Save the supernet through Ray Train: rank 0 writes, every rank reports.

    Args:
        worker: the supernet of this rank.
        next_round: the first round that has not changed the weights yet.
        wait: return only after it is stored, instead of uploading it during the next rounds.
    """
    checkpoint = None
    if worker.rank == 0:
        checkpoint = _new_checkpoint({"version": CHECKPOINT_VERSION, "next_round": next_round, **worker.state_dict()})
    ray.train.report(
        {"round": next_round},
        checkpoint=checkpoint,
        checkpoint_upload_mode=CheckpointUploadMode.SYNC if wait else CheckpointUploadMode.ASYNC,
        delete_local_checkpoint_after_upload=True,
    )


def _new_checkpoint(state: dict[str, Any]) -> Checkpoint:
    """Make a checkpoint in a temporary folder, which Ray Train deletes after it has stored it."""
    folder = Path(tempfile.mkdtemp(prefix="multinas-"))
    try:
        with open_atomic(folder / CHECKPOINT_FILE) as stream:
            torch.save(state, stream)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return Checkpoint.from_directory(folder)


def _restore(worker: RoundWorker) -> int:
    """Load the last checkpoint, if any; returns the first round that has not changed the weights yet, else 0."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        state = torch.load(Path(folder) / CHECKPOINT_FILE, map_location=worker.device, weights_only=True)
    if state.get("version") != CHECKPOINT_VERSION:
        raise StateError(
            f"a checkpoint must be of version {CHECKPOINT_VERSION}, it is of {state.get('version')}: start the run anew"
        )
    worker.load_state_dict(state)
    return int(state["next_round"])


def check_weights(job: WorkerJob, restored_round: int, first_round: int) -> None:
    """Log how many weight steps a restart has lost; they are not repeated.

    Raises:
        StateError: with weights first, the weights would not be trained to the end.
    """
    lost = min(first_round, job.num_weight_steps) - restored_round
    if lost > 0 and job.weights_first and first_round >= job.num_weight_steps:
        raise StateError(
            f"the distributions need weights after all {job.num_weight_steps} weight steps, the last checkpoint is of "
            f"step {restored_round}: restore the train folder of the run, or start the run anew"
        )
    if lost > 0:
        logger.warning(
            "The search goes on with the weights before round %d; %d weight steps are lost.", restored_round, lost
        )
