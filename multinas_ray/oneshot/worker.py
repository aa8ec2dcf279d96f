"""The worker loop that Ray Train runs on every rank: it pulls rounds, computes them and posts their results."""

from __future__ import annotations

import io
import math
import time
import uuid
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeVar

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist

from multinas_ray.cluster import SpotNotice, SpotWatch, check_software
from multinas_ray.data import cpu_threads, load_splits
from multinas_ray.errors import StateError, exits_told
from multinas_ray.oneshot.checkpoints import (
    CheckpointWriter,
    check_trained,
    newest_weights,
    read_weights,
)
from multinas_ray.oneshot.handover import Handover, join_store, open_store
from multinas_ray.oneshot.job import WorkerJob
from multinas_ray.oneshot.messages import Ending, LostSteps, Round, RoundResult
from multinas_ray.oneshot.rounds import RoundWorker, Traffic
from multinas_ray.runs import CHECKPOINTS
from multinas_ray.storage import make_folder, resolve, write_atomic
from multinas_ray.supernets import compute_deterministically, write_supernet

CHECKPOINT_VERSION = 1
DAMAGED_FOLDER = "damaged_images"

When = Literal["beside", "first", "last"]
Shared = TypeVar("Shared")


@exits_told()
def search_worker(config: dict[str, Any]) -> None:
    """The entry point of Ray Train; `config["job"]` is a WorkerJob."""
    job: WorkerJob = config["job"]
    check_software(job.versions)
    if job.deterministic:
        compute_deterministically()
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)  # the device on which NCCL puts the objects that it broadcasts
    else:
        most = job.training.largest_pass(job.space.costs["flops"].maximum, world_size)
        torch.set_num_threads(job.threads_per_worker or cpu_threads(most, context.get_local_world_size()))
    splits = load_splits(job.data.shared_by(context.get_local_world_size()))
    worker = RoundWorker(job, splits, device, rank, world_size)
    restored_round = _restore(worker)
    broker = ray.get_actor(job.broker, namespace=job.namespace)
    attempt = _agree(uuid.uuid4().hex, world_size)
    first_round: Any = ray.get(broker.begin_attempt.remote(attempt, ray.get_runtime_context().current_actor))
    if (lost := lost_steps(job, restored_round, first_round)) is not None and rank == 0:
        broker.tell.remote(lost)
    if context.get_local_rank() == 0:
        watch_for_notices(broker)
    WorkerLoop(worker, broker, attempt, handover(rank, world_size)).run(first_round)
    write_damaged_images(job.run_path, rank, worker.damaged_images)


def handover(rank: int, world_size: int) -> Handover:
    """Open what hands the work of rank 0 to the other ranks; all ranks call it."""
    if world_size == 1:
        return Handover()
    store = open_store(ray.util.get_node_ip_address()) if rank == 0 else None
    host, port = _agree(("", 0) if store is None else (store.host, store.port), world_size)
    return Handover(join_store(host, port) if store is None else store)


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


def _agree(value: Shared, world_size: int) -> Shared:
    """Return the value that rank 0 gives, on all ranks."""
    shared = [value]
    if world_size > 1:
        dist.broadcast_object_list(shared)
    return shared[0]


class WorkerLoop:
    """Computes the rounds that the broker hands out, until it hands out the ending.

    Rank 0 takes them and hands them to the others, so all ranks get the same rounds in the same order and their
    collectives match. Rank 0 posts the results.

    Args:
        worker: the supernet of this rank.
        broker: the actor handle of the broker.
        attempt: id of this start of the worker group.
        handover: hands the work from rank 0 to the others.
    """

    def __init__(self, worker: RoundWorker, broker: Any, attempt: str, handover: Handover) -> None:
        self._worker, self._broker, self._attempt, self._handover = worker, broker, attempt, handover
        self._outbox = Outbox()
        self._is_first = worker.rank == 0
        self._writer = CheckpointWriter(worker.job.run_path, broker.tell.remote)

    def run(self, first_round: int) -> None:
        """Compute rounds from `first_round` until the ending."""
        next_round = first_round
        while not isinstance(work := self._take(next_round), Ending):
            for each in work:
                self._carry_out(each)
                next_round = each.number + 1
        if work.checkpoint:
            save_checkpoint(self._worker, self._writer, next_round, "last")
        self._writer.wait()
        if work.supernet and self._is_first:
            write_supernet(self._worker.supernet, self._worker.job.run_path)

    def _take(self, next_round: int) -> list[Round] | Ending:
        """Return the next rounds, or the ending once all results are there."""
        work = self._take_for_all(next_round) if self._is_first else self._handover.receive(next_round)
        if isinstance(work, Ending):
            self._post(self._outbox.drain())
        return work

    def _take_for_all(self, next_round: int) -> list[Round] | Ending:
        """On rank 0: meanwhile results are posted one by one as the device finishes them."""
        taken = self._broker.take.remote(next_round)
        while len(self._outbox) and not ray.wait([taken], timeout=0)[0]:
            self._post([self._outbox.wait_for_one()])
        work: list[Round] | Ending = ray.get(taken)
        self._handover.give(next_round, work)
        return work

    def _carry_out(self, work: Round) -> None:
        started_seconds = time.perf_counter()
        packed = self._worker.run(work)
        self._outbox.add(work, packed, started_seconds, self._worker.traffic)
        if work.checkpoint:
            # The last round of the warm-up counts as done only after its weights are stored: evaluations follow.
            warmup_ends = work.number + 1 == max(1, self._worker.job.warmup_rounds)
            if not warmup_ends:
                self._post(self._outbox.drain())
            save_checkpoint(self._worker, self._writer, work.number + 1, "first" if warmup_ends else "beside")
        self._post(self._outbox.ready())

    def _post(self, results: list[RoundResult]) -> None:
        if results and self._is_first:
            self._broker.post.remote(self._attempt, results)
            self._handover.forget_before(results[-1].round)


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


def save_checkpoint(worker: RoundWorker, writer: CheckpointWriter, next_round: int, when: When = "beside") -> None:
    """Save the supernet and the state of its training; rank 0 does it for all.

    Args:
        worker: the supernet of this rank.
        writer: writes the file.
        next_round: the first round that has not changed the weights yet.
        when: "beside" the next rounds; "first", before anything else is done; "last", before the worker returns.
    """
    if worker.rank != 0:
        return
    buffer = io.BytesIO()
    torch.save({"version": CHECKPOINT_VERSION, "next_round": next_round, **worker.state_dict()}, buffer)
    save = {"beside": writer.begin, "first": writer.write, "last": writer.write_last}[when]
    save(next_round, buffer.getvalue())


def _restore(worker: RoundWorker) -> int:
    """Load the newest checkpoint that is whole, if any; returns the first round that has not changed the weights.

    Rank 0 chooses it for all.
    """
    run_path = worker.job.run_path
    weights = newest_weights(run_path) if worker.rank == 0 else None
    name = _agree(weights.name if weights else None, worker.world_size)
    if name is None:
        return 0
    content = io.BytesIO(read_weights(run_path, name))
    state = torch.load(content, map_location=worker.device, weights_only=True)
    if state.get("version") != CHECKPOINT_VERSION:
        raise StateError(
            f"a checkpoint must be of version {CHECKPOINT_VERSION}, it is of {state.get('version')}: start the run anew"
        )
    worker.load_state_dict(state)
    return int(state["next_round"])


def lost_steps(job: WorkerJob, weights_round: int, first_round: int) -> LostSteps | None:
    """The weight steps that a restart has lost, which are not repeated; None if there are none.

    Raises:
        StateError: the weights are not those with which the recorded evaluations were made, see `check_trained`.
    """
    folder = f"{job.run_path}/{CHECKPOINTS}"
    check_trained(weights_round, first_round, job.warmup_rounds, not job.weights_first, folder)
    number = min(first_round, job.num_weight_steps) - weights_round
    return LostSteps(weights_round=weights_round, number=number) if number > 0 else None
