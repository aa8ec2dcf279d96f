"""How fast a worker trains and evaluates subnets of a space, and reads its images: given, or measured for seconds."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch

from multinas_ray.cluster import worker_resources, workers_on_a_node
from multinas_ray.data import (
    PREFETCHED_BATCHES,
    DataSplits,
    ImageSet,
    StreamedImages,
    batch_of,
    cpu_threads,
    load_splits,
    open_stream,
    standard_augmentation,
)
from multinas_ray.errors import exits_told
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.job import WorkerJob
from multinas_ray.oneshot.messages import Round
from multinas_ray.oneshot.rounds import RoundWorker
from multinas_ray.spaces import IntArray, Space

CALIBRATION_SECONDS = 3.0
"""Duration of each of the measurements of a calibration, which has at least one round. A warm-up round comes before it;
one that takes so long is the measurement itself."""
CALIBRATION_SUBNETS = 4
"""Number of uniformly drawn subnets in a round that is measured on a CPU, fewer of large ones, and of drawn rounds on a
GPU."""
CALIBRATION_FLOPS = 2e9
"""Multiply-adds of the largest subnets in a round that is measured on a CPU. Rounds of fewer measure the overhead of
torch, and those of more take long. [ours]"""
LEAST_GROUP = 4
"""Images of a normalisation group that a CPU computes for a measurement, if those of the search take long. [ours]"""
EVALUATION_SPEEDUP = 3.0
"""Images that are evaluated in the time of one that is trained, if only the rate of training is given: the backward
pass costs as much as two forward passes. [ours]"""
READ_AT_ONCE = 32
"""Most images of a batch with which reading is measured."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The images that one worker passes through one average subnet in a second, and those that it reads."""

    training: float
    """Rate of the forward and backward pass."""
    evaluation: float
    """Rate of the forward pass alone."""
    source: str
    """Where the rates come from, in words."""
    reading: float | None = None
    """Rate at which images are read, decoded and varied; None: not known."""
    reads_beside: bool = False
    """Whether they are read while the worker computes, by other processes beside a GPU."""


def stated_rates(images_per_second: float) -> Rates:
    """Return the rates that follow from that of training."""
    return Rates(
        training=images_per_second,
        evaluation=EVALUATION_SPEEDUP * images_per_second,
        source=f"given; evaluation is assumed to be {EVALUATION_SPEEDUP:g} times as fast",
    )


def can_measure_here(config: OneShotSearchConfig) -> bool:
    """Whether this machine has the device of the workers."""
    return not config.use_gpu or torch.cuda.is_available()


def measure_on_worker(config: OneShotSearchConfig, stated: Rates | None = None, *, has_images: bool = True) -> Rates:
    """Measure on one worker of the cluster, as `measure_here` does. Ray must be running."""
    wanted = worker_resources(config.cpus_per_worker, config.use_gpu)
    sharing = workers_on_a_node(config.num_workers, cpus_per_worker=config.cpus_per_worker, use_gpu=config.use_gpu)
    task: Any = ray.remote(num_cpus=wanted["CPU"], num_gpus=wanted.get("GPU", 0))(measure_here)
    rates: Rates = ray.get(task.remote(config, stated, has_images=has_images, sharing=sharing))
    return rates


@exits_told()
def measure_here(
    config: OneShotSearchConfig, stated: Rates | None = None, *, has_images: bool = True, sharing: int | None = None
) -> Rates:
    """Measure rounds with random images, or samples of the data, in this process, with the threads of one worker.

    Args:
        config: the search.
        stated: the rates of computing if they are known; only reading is measured then.
        has_images: whether there are images whose reading can be measured.
        sharing: workers that share the cores of a node; None: all of them.
    """
    device = torch.device("cuda" if config.use_gpu else "cpu")
    sharing = sharing or (config.num_workers if not config.use_gpu else max(1, torch.cuda.device_count()))
    threads_before = torch.get_num_threads()
    if device.type == "cpu":
        most = config.training.largest_pass(config.space.costs["flops"].maximum, config.num_workers)
        torch.set_num_threads(config.threads_per_worker or cpu_threads(most, sharing))
    try:
        rates = stated or _computing(config, device)
        return _with_reading(rates, config, device, sharing) if has_images else rates
    finally:
        torch.set_num_threads(threads_before)


def _computing(config: OneShotSearchConfig, device: torch.device) -> Rates:
    """The rates of a round's two parts, each on the largest shard that a worker has of its batch."""
    if device.type == "cpu":
        config = _with_small_groups(config)
    trained, evaluated = (
        _num_images(config, batch, device)
        for batch in (config.training.batch_size, config.training.validation_batch_size)
    )
    worker = _calibration_worker(config, trained, evaluated, device)
    training = trained / _seconds_of_subnet(
        worker, [_trained(rows) for rows in _drawn(config, device, is_trained=True)]
    )
    evaluation = evaluated / _seconds_of_subnet(
        worker, [_evaluated(rows) for rows in _drawn(config, device, is_trained=False)]
    )
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    source = f"measured on {name}, {trained} images at a time trained and {evaluated} evaluated"
    return Rates(training=training, evaluation=evaluation, source=source)


def _num_images(config: OneShotSearchConfig, batch: int, device: torch.device) -> int:
    """Images of a measured round: the largest shard, or as many whole groups of it as a CPU soon computes."""
    group, shard = config.training.norm_batch_size, config.training.largest_shard(batch, config.num_workers)
    if device.type == "cuda":
        return shard
    return min(shard, max(group, _soon_computed(config) // group * group))


def _soon_computed(config: OneShotSearchConfig) -> int:
    """Images of a round that a CPU soon computes; 0 for large networks."""
    return int(_computed(config) / CALIBRATION_SUBNETS)


def _computed(config: OneShotSearchConfig) -> float:
    """Images that pass through the largest subnet while a CPU measures."""
    return CALIBRATION_FLOPS / max(1.0, config.space.costs["flops"].maximum)


def _with_small_groups(config: OneShotSearchConfig) -> OneShotSearchConfig:
    """The search with groups of images that a CPU soon computes, since a measured round has at least one."""
    most, group = max(LEAST_GROUP, _soon_computed(config)), config.training.norm_batch_size
    size = max(each for each in range(1, min(group, most) + 1) if group % each == 0)
    return dataclasses.replace(config, training=dataclasses.replace(config.training, norm_batch_size=size))


def _drawn(config: OneShotSearchConfig, device: torch.device, *, is_trained: bool) -> list[IntArray]:
    """Uniformly drawn subnets of each measured round; on a GPU as many as a round of the search has."""
    space, rng = config.space.search_space, np.random.default_rng(0)
    if device.type == "cpu":
        return [space.random(max(1, min(CALIBRATION_SUBNETS, int(_computed(config) / LEAST_GROUP))), rng)]
    number = config.plan.num_train_architectures if is_trained else config.optimizer_settings.update_size
    return [space.random(number, rng) for _ in range(CALIBRATION_SUBNETS)]


def _trained(rows_ND: IntArray) -> Round:
    return Round(number=0, train_architectures=rows_ND, architectures=None)


def _evaluated(rows_ND: IntArray) -> Round:
    return Round(number=0, train_architectures=None, architectures=rows_ND)


def _calibration_worker(config: OneShotSearchConfig, trained: int, evaluated: int, device: torch.device) -> RoundWorker:
    splits = (
        _made_up_images(config.space, max(trained, evaluated)) if config.data.has_images else load_splits(config.data)
    )
    job = WorkerJob(
        space=config.space,
        data=config.data,
        task=config.task,
        training=dataclasses.replace(
            config.training, batch_size=trained, validation_batch_size=evaluated, augment=False
        ),
        num_weight_steps=1,
        warmup_rounds=1,
        seed=0,
        broker="",
        namespace="",
        run_path="",
    )
    return RoundWorker(job, splits, device)


def _made_up_images(space: Space, num_images: int) -> DataSplits:
    """Random images for a space."""
    _, channels, height, width = batch_of(space.inputs, 1).shape
    num_classes = space.num_classes or 1
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(num_images, height, width, channels), dtype=np.uint8)
    images = ImageSet(pixels, np.arange(num_images, dtype=np.int64) % num_classes)
    names, half = tuple(str(number) for number in range(num_classes)), (0.5,) * channels
    return DataSplits(images, images, images, half, half, names, (channels, height, width))


def _seconds_of_subnet(worker: RoundWorker, rounds: Sequence[Round]) -> float:
    """Return the mean time of a subnet in rounds that are repeated in turn, after a warm-up of each."""
    seconds, subnets = _run_until(worker, rounds, lambda _, number: number == len(rounds))
    if seconds < CALIBRATION_SECONDS:
        cycle = itertools.cycle(rounds)
        seconds, subnets = _run_until(worker, cycle, lambda passed, _: passed >= CALIBRATION_SECONDS)
    return seconds / subnets


def _run_until(
    worker: RoundWorker, rounds: Iterable[Round], is_enough: Callable[[float, int], bool]
) -> tuple[float, int]:
    """Run rounds until their time and their number are enough; returns the time and the number of subnets."""
    started_seconds, subnets = time.perf_counter(), 0
    for number, each in enumerate(rounds, start=1):
        float(worker.run(each).sum())  # waits for the device
        rows_ND = each.architectures if each.train_architectures is None else each.train_architectures
        assert rows_ND is not None
        subnets += len(rows_ND)
        if is_enough(time.perf_counter() - started_seconds, number):
            break
    return time.perf_counter() - started_seconds, subnets


def _with_reading(rates: Rates, config: OneShotSearchConfig, device: torch.device, sharing: int) -> Rates:
    """The rates with that of reading training images as one of the workers of a node reads them."""
    splits = load_splits(config.data.shared_by(sharing))
    stream = open_stream(
        splits.train,
        batch_size=max(1, min(READ_AT_ONCE, config.training.batch_size, len(splits.train))),
        seed=0,
        shuffle=True,
        augment=standard_augmentation(config.data, splits.image_size) if config.training.augment else None,
        mean=splits.mean,
        std=splits.std,
        device=device,
        norm_batch_size=1,
    )
    processes = splits.train.num_processes or 0 if isinstance(splits.train, StreamedImages) else 0
    step = 1 + PREFETCHED_BATCHES * processes  # as many have been decoded ahead
    for number in range(step):
        stream.batch(number)
    started_seconds, count = time.perf_counter(), 0
    while not count or time.perf_counter() - started_seconds < CALIBRATION_SECONDS:
        stream.batch(step)
        step, count = step + 1, count + stream.shard_size
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    reading = count / (time.perf_counter() - started_seconds)
    return dataclasses.replace(rates, reading=reading, reads_beside=processes > 0 and device.type == "cuda")
