"""Training one chosen network from its first weights to its file: checkpoints, resuming, and the final test.

The same function trains in the process of a Tune trial (one worker) and on each rank of a Ray Train worker group
(several workers). The checkpoint is in the folder of the network, so the training goes on after any failure, with any
number of workers.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import nn

from multinas_ray.cluster import NoticedCheckpoints, SpotNotice, SpotWatch, check_software, software_versions
from multinas_ray.data import load_splits, standard_augmentation
from multinas_ray.errors import StateError, exits_told
from multinas_ray.retraining.recipe import RetrainConfig
from multinas_ray.runs import (
    CHECKPOINT_FILE,
    RETRAINED_FILE,
    Retrained,
    RetrainingRecord,
    drop_export,
    write_retraining,
    write_training,
)
from multinas_ray.storage import Location, delete_file, exists, read_bytes, resolve, write_atomic
from multinas_ray.supernets import build_subnet, compute_deterministically, load_subnet

if TYPE_CHECKING:
    from multinas_ray.data import DataConfig
    from multinas_ray.retraining.network_training import EpochRow, NetworkTraining
    from multinas_ray.spaces import Space
    from multinas_ray.tasks import Task

CHECKPOINT_VERSION = 3
GROUP_REPORT_SECONDS = 5.0
"""Least time between reports of a worker group. A report may wait for the controller of Ray Train, which polls every
2 s."""

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class RetrainJob:
    """Everything that the workers of one network need to train it."""

    space: Space
    data: DataConfig
    task: Task
    config: RetrainConfig
    architecture: tuple[int, ...]
    family_path: str
    """Folder of the family of the network."""
    folders: tuple[str, ...]
    """Folders of the networks with this architecture; the first holds the checkpoint."""
    work_path: str
    """Folder for the files of a worker group."""
    workers_per_node: int = 1
    """Most workers of all trainings on one node."""
    supernet_weights: str | None
    """File of the weights that the network had in the supernet, for init="supernet"."""
    versions: Mapping[str, str | None] = field(default_factory=software_versions)
    """Versions of the driver's software, which every worker's node must have."""

    @property
    def record(self) -> RetrainingRecord:
        """The record in the folders as long as the training is not finished."""
        return RetrainingRecord(architecture=self.architecture, recipe=self.config.identity())


def train_network(
    job: RetrainJob,
    report: Report,
    report_seconds: float,
    device: torch.device,
    rank: int = 0,
    world_size: int = 1,
    is_checkpoint_wanted: Callable[[], bool] = lambda: False,
) -> None:
    """Train a network from its last checkpoint to the end, test it, and write its files.

    Args:
        job: the network to train.
        report: takes the row of an epoch; the last one has test_loss and test_accuracy too.
        report_seconds: least time between reports.
        device: where this rank computes.
        rank: this rank, from 0.
        world_size: ranks that train this network.
        is_checkpoint_wanted: asked after each step; its answer must be the same on every rank. In addition, checkpoints
            are saved at the ends of epochs, at most every `checkpoint_interval_seconds`.

    Raises:
        RunError: the training diverged, or the node has other software than the driver.
        StateError: the checkpoint is damaged or of another version.
    """
    check_software(job.versions)
    training = start_training(job, device, rank, world_size)
    due_for_checkpoint = Pace(job.config.checkpoint_interval_seconds, world_size, device)
    due_for_report = Pace(report_seconds, world_size, device)
    while not training.is_finished:
        row = training.run_epoch(is_checkpoint_wanted)
        if (row is None or due_for_checkpoint()) and rank == 0:
            save_checkpoint(training, job)
        if row is None:
            continue
        if due_for_report() and not training.is_finished:
            report(_told(row))
    score = training.score(training.splits.test)
    accuracy = training.primary_of(score)
    if rank == 0:
        seconds = sum(float(row["seconds"] or 0) for row in training.history)
        finish(training, job, Retrained(loss=score.loss, accuracy=accuracy, epochs=training.epoch, seconds=seconds))
    report({**_told(training.history[-1]), "test_loss": score.loss, "test_accuracy": accuracy})


def start_training(job: RetrainJob, device: torch.device, rank: int = 0, world_size: int = 1) -> NetworkTraining:
    """Start the training of a job, from its last checkpoint if there is one.

    Raises:
        StateError: the checkpoint is damaged or of another version.
    """
    # Here, since the driver, which imports this module too, trains nothing and timm takes 5 seconds to load.
    from multinas_ray.retraining.network_training import NetworkTraining

    if job.config.deterministic:
        compute_deterministically()
    splits = load_splits(job.data.shared_by(job.workers_per_node))
    network = first_weights(job).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no type of memory_format alone
    loss = job.config.training_loss.start(job.space, job.task, job.family_path, device)
    crops = standard_augmentation(job.data, splits.image_size)
    training = NetworkTraining(network, job.config, loss, splits, crops, device, rank, world_size, job.task)
    file = _checkpoint_file(job)
    if exists(file):
        training.load_state_dict(_load(file, device))
    return training


def first_weights(job: RetrainJob) -> nn.Module:
    """Return the network before its first epoch, on the CPU.

    Raises:
        StateError: the weights of the supernet are needed and cannot be read.
    """
    if job.config.init == "scratch":
        return build_subnet(job.space, job.architecture, seed=job.config.seed)
    remedy = 'choose the networks again with `multinas-ray select`, or set init="scratch"'
    if job.supernet_weights is None:
        raise StateError(f'init="supernet" needs weights of the supernet, {job.folders[0]} has none: {remedy}')
    return load_subnet(job.space, job.architecture, job.supernet_weights, remedy)


class Pace:
    """Says at intervals that something is due, on all ranks at the same time, by the clock of rank 0."""

    def __init__(self, interval_seconds: float, world_size: int, device: torch.device) -> None:
        self._interval_seconds, self._world_size, self._device = interval_seconds, world_size, device
        self._last_seconds = time.monotonic()

    def __call__(self) -> bool:
        """Whether it is due now. If so, it is due again after the interval."""
        is_due = time.monotonic() - self._last_seconds >= self._interval_seconds
        if self._world_size > 1:
            told = torch.tensor(int(is_due), device=self._device)
            dist.broadcast(told, src=0)
            is_due = bool(told)
        if is_due:
            self._last_seconds = time.monotonic()
        return is_due


def save_checkpoint(training: NetworkTraining, job: RetrainJob) -> None:
    """Write the state after a step and the table of epochs, in place of the last ones."""
    file = _checkpoint_file(job)
    write_atomic(file, _to_bytes({"version": CHECKPOINT_VERSION, **training.state_dict()}))
    for folder in job.folders:
        write_training(folder, training.history)


def finish(training: NetworkTraining, job: RetrainJob, result: Retrained) -> None:
    """Write the trained weights in place of older ones, then the record of the result, and delete the checkpoint."""
    weights = _to_bytes({name: value.cpu().contiguous() for name, value in training.trained.state_dict().items()})
    for folder in job.folders:
        write_training(folder, training.history)
        drop_export(folder)
        write_atomic(resolve(folder).join(RETRAINED_FILE), weights)
        write_retraining(
            folder, RetrainingRecord(architecture=job.architecture, recipe=job.config.identity(), result=result)
        )
    delete_file(_checkpoint_file(job))


@contextmanager
def noticed_checkpoints(device: torch.device, world_size: int = 1, local_rank: int = 0) -> Iterator[Callable[[], bool]]:
    """Give the function that every rank asks after each step: whether the notice of a node wants a checkpoint.

    Args:
        device: where this rank computes.
        world_size: ranks of the training.
        local_rank: number of this rank on its node; within the context, the first rank of a node watches for notices.
    """
    node = ray.util.get_node_ip_address()
    checkpoints = NoticedCheckpoints(device, world_size)
    watch = SpotWatch(lambda seconds_left: checkpoints.tell(SpotNotice(node, seconds_left)))
    with watch if local_rank == 0 else nullcontext():
        yield checkpoints.is_due


@exits_told()
def retraining_worker(config: dict[str, Any]) -> None:
    """The entry point on every rank of a Ray Train worker group; `config["job"]` is the RetrainJob."""
    job: RetrainJob = config["job"]
    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    if device.type == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(job.config.num_threads)
    rank, world_size = context.get_world_rank(), context.get_world_size()
    with noticed_checkpoints(device, world_size, context.get_local_rank()) as is_wanted:
        train_network(job, ray.train.report, GROUP_REPORT_SECONDS, device, rank, world_size, is_wanted)


def _told(row: EpochRow) -> dict[str, Any]:
    """A row as a dictionary of metrics; the epoch is the horizontal axis of the loggers."""
    return {**{name: value for name, value in row.items() if value is not None}, "timesteps_total": row["epoch"]}


def _checkpoint_file(job: RetrainJob) -> Location:
    return resolve(job.folders[0]).join(CHECKPOINT_FILE)


def _to_bytes(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _load(file: Location, device: torch.device) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(read_bytes(file)), map_location=device, weights_only=True)
    except StateError:
        raise
    except Exception as error:  # torch raises what its file's damage happens to cause
        raise StateError(f"{file} cannot be read ({error}): restore a copy, or train anew with --overwrite") from error
    if state.pop("version", None) != CHECKPOINT_VERSION:
        raise StateError(
            f"{file} must be of version {CHECKPOINT_VERSION}, it is of another one: train anew with --overwrite"
        )
    return state
