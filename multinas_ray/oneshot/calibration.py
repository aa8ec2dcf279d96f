"""How fast a worker trains and evaluates subnets of a space: given, or measured for a few seconds."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
import ray
import torch

from multinas_ray.cluster import worker_resources
from multinas_ray.data import DataSplits, ImageSet, batch_of, load_splits, usable_cores
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.job import WorkerJob
from multinas_ray.oneshot.messages import Round
from multinas_ray.oneshot.rounds import RoundWorker
from multinas_ray.spaces import Space

CALIBRATION_SECONDS = 3.0
"""Duration of each of the two measurements of a calibration, which has at least one round after a warm-up round."""
CALIBRATION_SUBNETS = 4
"""Number of uniformly drawn subnets in a measured round."""
CALIBRATION_FLOPS = 2e9
"""Multiply-adds of the largest subnets in a round that is measured on a CPU. Rounds of fewer measure the overhead of
torch, and those of more take long. [ours]"""
EVALUATION_SPEEDUP = 3.0
"""Images that are evaluated in the time of one that is trained, if only the rate of training is given: the backward
pass costs as much as two forward passes. [ours]"""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The images that one worker passes through one average subnet in a second."""

    training: float
    """Rate of the forward and backward pass."""
    evaluation: float
    """Rate of the forward pass alone."""
    source: str
    """Where the rates come from, in words."""


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


def measure_on_worker(config: OneShotSearchConfig) -> Rates:
    """Measure rounds with random images, or samples of the data, on one worker of the cluster. Ray must be running."""
    wanted = worker_resources(config.cpus_per_worker, config.use_gpu)
    task = ray.remote(num_cpus=wanted["CPU"], num_gpus=wanted.get("GPU", 0))(measure_here)
    rates: Rates = ray.get(task.remote(config))
    return rates


def measure_here(config: OneShotSearchConfig) -> Rates:
    """Measure rounds with random images, or samples of the data, in this process, with the threads of one worker."""
    device = torch.device("cuda" if config.use_gpu else "cpu")
    threads_before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(config.threads_per_worker or max(1, usable_cores() // config.num_workers))
    try:
        return _measured(config, device)
    finally:
        torch.set_num_threads(threads_before)


def _measured(config: OneShotSearchConfig, device: torch.device) -> Rates:
    num_images = _num_images(config, device)
    worker = _calibration_worker(config, num_images, device)
    rows = config.space.search_space.random(CALIBRATION_SUBNETS, np.random.default_rng(0))
    passes = num_images * len(rows)
    training = passes / _seconds(worker, Round(number=0, train_architectures=rows, architectures=None))
    evaluation = passes / _seconds(worker, Round(number=0, train_architectures=None, architectures=rows))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    return Rates(training=training, evaluation=evaluation, source=f"measured on {name}, {num_images} images at a time")


def _num_images(config: OneShotSearchConfig, device: torch.device) -> int:
    """Images of a measured round: the shard of a worker, or as many whole groups of it as a CPU soon computes."""
    group = config.training.norm_batch_size
    shard = max(group, config.training.batch_size // config.num_workers)
    if device.type == "cuda":
        return shard
    soon = CALIBRATION_FLOPS / max(1.0, config.space.costs["flops"].maximum) / CALIBRATION_SUBNETS
    return min(shard, max(group, int(soon) // group * group))


def _calibration_worker(config: OneShotSearchConfig, num_images: int, device: torch.device) -> RoundWorker:
    splits = _made_up_images(config.space, num_images) if config.data.has_images else load_splits(config.data)
    job = WorkerJob(
        space=config.space,
        data=config.data,
        task=config.task,
        training=dataclasses.replace(
            config.training, batch_size=num_images, validation_batch_size=num_images, augment=False
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


def _seconds(worker: RoundWorker, work: Round) -> float:
    """Return the mean time of a round, after a warm-up round."""
    float(worker.run(work).sum())
    started, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - started < CALIBRATION_SECONDS:
        float(worker.run(work).sum())  # waits for the device
        rounds += 1
    return (time.perf_counter() - started) / rounds
