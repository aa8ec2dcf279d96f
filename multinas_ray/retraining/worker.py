"""One chosen network from its first weights to its file: checkpoints, resuming, the last test.

The same function trains in the process of a Tune trial (one worker) and on each rank of a Ray Train worker group
(several). Its checkpoints lie in the network's own folder, so it goes on after any death, with any number of workers.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
import ray.train
import ray.train.torch
import torch
import torch.distributed as dist
from torch import nn

from multinas_ray.cluster import NoticedCheckpoints, SpotNotice, SpotWatch
from multinas_ray.data import load_splits, standard_augmentation
from multinas_ray.errors import StateError
from multinas_ray.retraining.network_training import EpochRow, NetworkTraining
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
from multinas_ray.supernets import build_subnet

if TYPE_CHECKING:
    from multinas_ray.data import DataConfig
    from multinas_ray.spaces import NetworkSpace

CHECKPOINT_VERSION = 2
GROUP_REPORT_SECONDS = 5.0
"""Least time between reports of a worker group; each may wait for Ray Train's controller, which looks every 2 s."""

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class RetrainJob:
    """One network to train: all that its workers need."""

    space: NetworkSpace
    data: DataConfig
    config: RetrainConfig
    architecture: tuple[int, ...]
    folders: tuple[str, ...]
    """Folders of the networks with this architecture; the first holds the checkpoint."""
    work_path: str
    """Folder for what a worker group leaves."""
    supernet_weights: str | None
    """File of the weights it had in the supernet, for init="supernet"."""

    @property
    def record(self) -> RetrainingRecord:
        """What its folders say while it is not finished."""
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
    """Train a network to its end from its last checkpoint, test it, and write its files.

    Args:
        job: the network.
        report: takes an epoch's row; at last one with test_loss and test_accuracy.
        report_seconds: least time between reports.
        device: where this rank computes.
        rank: this rank, from 0.
        world_size: ranks that train this network.
        is_checkpoint_wanted: asked after each step; says the same on every rank. Beside it a checkpoint is saved at the
            ends of epochs, every `checkpoint_interval_seconds` at most.

    Raises:
        RunError: the training diverged.
        StateError: the checkpoint is damaged or of another version.
    """
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
    loss, accuracy = training.score(training.splits.test)
    if rank == 0:
        seconds = sum(float(row["seconds"] or 0) for row in training.history)
        finish(training, job, Retrained(loss=loss, accuracy=accuracy, epochs=training.epoch, seconds=seconds))
    report({**_told(training.history[-1]), "test_loss": loss, "test_accuracy": accuracy})


def start_training(job: RetrainJob, device: torch.device, rank: int = 0, world_size: int = 1) -> NetworkTraining:
    """The training of a job at its last checkpoint, or at its start.

    Raises:
        StateError: the checkpoint is damaged or of another version.
    """
    splits = load_splits(job.data)
    network = first_weights(job).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    crops = standard_augmentation(job.data, splits.image_shape[1])
    training = NetworkTraining(network, job.config, splits, crops, device, rank, world_size)
    file = _checkpoint_file(job)
    if exists(file):
        training.load_state_dict(_load(file, device))
    return training


def first_weights(job: RetrainJob) -> nn.Module:
    """The network before its first epoch, on the CPU.

    Raises:
        StateError: its weights in the supernet cannot be read.
    """
    network = build_subnet(job.space, job.architecture, seed=job.config.seed)
    if job.config.init == "supernet":
        if job.supernet_weights is None:
            raise StateError(
                f'{job.folders[0]} has no weights of the supernet, which init="supernet" starts from: choose the '
                'networks again by `multinas-ray select`, or set init="scratch"'
            )
        network.load_state_dict(_load_file(resolve(job.supernet_weights), torch.device("cpu")))
    return network


class Pace:
    """Says every so often that something is due, on all ranks at once: rank 0's clock counts."""

    def __init__(self, interval_seconds: float, world_size: int, device: torch.device) -> None:
        self._interval_seconds, self._world_size, self._device = interval_seconds, world_size, device
        self._last_seconds = time.monotonic()

    def __call__(self) -> bool:
        """Whether it is due now; then it is due again after the interval."""
        is_due = time.monotonic() - self._last_seconds >= self._interval_seconds
        if self._world_size > 1:
            told = torch.tensor(int(is_due), device=self._device)
            dist.broadcast(told, src=0)
            is_due = bool(told)
        if is_due:
            self._last_seconds = time.monotonic()
        return is_due


def save_checkpoint(training: NetworkTraining, job: RetrainJob) -> None:
    """Write the state after a step, and the table of epochs, in place of the last."""
    file = _checkpoint_file(job)
    write_atomic(file, _to_bytes({"version": CHECKPOINT_VERSION, **training.state_dict()}))
    for folder in job.folders:
        write_training(folder, training.history)


def finish(training: NetworkTraining, job: RetrainJob, result: Retrained) -> None:
    """Write the trained weights in place of all older ones, then the record that says so, and drop the checkpoint."""
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
    """What is asked on every rank after each step, and says when a notice of one of the nodes wants a checkpoint.

    Args:
        device: where this rank computes.
        world_size: ranks of the training.
        local_rank: this rank on its node; the first one of a node watches for its notice, within the context.
    """
    node = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    checkpoints = NoticedCheckpoints(device, world_size)
    watch = SpotWatch(lambda seconds_left: checkpoints.tell(SpotNotice(node, seconds_left)))
    with watch if local_rank == 0 else nullcontext():
        yield checkpoints.is_due


def retraining_worker(config: dict[str, Any]) -> None:
    """Ray Train's entry point on every rank of a group that trains one network; `config["job"]` is a RetrainJob."""
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
    """A row as a metric dictionary; the loggers' horizontal axis is the epoch."""
    return {**{name: value for name, value in row.items() if value is not None}, "timesteps_total": row["epoch"]}


def _checkpoint_file(job: RetrainJob) -> Location:
    return resolve(job.folders[0]).join(CHECKPOINT_FILE)


def _to_bytes(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _load(file: Location, device: torch.device) -> dict[str, Any]:
    state = _load_file(file, device)
    if state.pop("version", None) != CHECKPOINT_VERSION:
        raise StateError(f"{file} is of another version, expected {CHECKPOINT_VERSION}: train anew with --overwrite")
    return state


def _load_file(file: Location, device: torch.device) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(read_bytes(file)), map_location=device, weights_only=True)
    except StateError:
        raise
    except Exception as error:  # torch raises what the file's damage happens to cause
        raise StateError(f"{file} cannot be read ({error}): restore a copy, or train anew with --overwrite") from error
    return state
