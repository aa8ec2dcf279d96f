"""The estimate of a search before it starts: rounds, images, memory, hours and dollars."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ray
import torch
from rich.console import Console
from rich.table import Table

from multinas_ray.cluster import describe_nodes, ray_session, worker_resources
from multinas_ray.data import DataSplits, ImageSet
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.job import WorkerJob
from multinas_ray.oneshot.memory_estimate import estimate_memory
from multinas_ray.oneshot.messages import Round
from multinas_ray.oneshot.preflight import check_cluster, check_data, check_resources, check_run_folder, tell_images
from multinas_ray.oneshot.round_blocks import cut_rounds
from multinas_ray.oneshot.rounds import RoundWorker
from multinas_ray.runs import format_count, gigabytes
from multinas_ray.settings import NonNegativeFloat, PositiveFloat, checked_arguments

CALIBRATION_SECONDS = 20.0
"""Duration of each of the two measurements of a calibration, which has at least one round after a warm-up round."""
CALIBRATION_SUBNETS = 4
"""Number of uniformly drawn subnets in a measured round."""
EVALUATION_SPEEDUP = 3.0
"""Images that are evaluated in the time of one that is trained, if only the rate of training is given: the backward
pass costs as much as two forward passes. [ours]"""
CHECKPOINTS_ON_DISK = 2


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The images that one worker passes through one average subnet in a second."""

    training: float
    """Rate of the forward and backward pass."""
    evaluation: float
    """Rate of the forward pass alone."""
    source: str
    """Where the rates come from, in words."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The size of a search."""

    weight_steps: int
    search_rounds: int
    evaluations: int
    trials: int
    """Number of blocks of rounds, which are Tune's trials."""
    training_images: int
    """Number of images in all weight steps."""
    trained_passes: int
    """Number of trained images, counted once for each subnet."""
    evaluated_passes: int
    """Number of evaluated images, counted once for each subnet."""
    checkpoint_bytes: int
    """Size of a checkpoint, which holds weights and momentum."""

    @classmethod
    def of(cls, config: OneShotSearchConfig) -> Estimate:
        """Estimate the size of the search that a configuration describes."""
        plan, training = config.plan, config.training
        evaluations = plan.search_rounds * config.optimizer_settings.update_size
        training_images = plan.num_weight_steps * training.batch_size
        memory = estimate_memory(config.space, training, config.num_workers)
        return cls(
            weight_steps=plan.num_weight_steps,
            search_rounds=plan.search_rounds,
            evaluations=evaluations,
            trials=len(cut_rounds(0, plan.num_rounds, config.rounds_per_block)),
            training_images=training_images,
            trained_passes=training_images * plan.num_train_architectures,
            evaluated_passes=evaluations * training.validation_batch_size,
            checkpoint_bytes=2 * memory.weights,
        )

    def hours(self, rates: Rates, num_workers: int) -> float:
        """Wall time of the rounds if the workers share every batch, without input, network, restarts and the choice."""
        seconds = self.trained_passes / rates.training + self.evaluated_passes / rates.evaluation
        return seconds / num_workers / 3600


def stated_rates(images_per_second: float) -> Rates:
    """Return the rates that follow from that of training."""
    return Rates(
        training=images_per_second,
        evaluation=EVALUATION_SPEEDUP * images_per_second,
        source=f"given; evaluation is assumed to be {EVALUATION_SPEEDUP:g} times as fast",
    )


def measure_rates(config: OneShotSearchConfig) -> Rates:
    """Measure rounds with random images on one worker of the cluster. Ray must be running."""
    wanted = worker_resources(config.cpus_per_worker, config.use_gpu)
    task = ray.remote(num_cpus=wanted["CPU"], num_gpus=wanted.get("GPU", 0))(_measure)
    rates: Rates = ray.get(task.remote(config))
    return rates


def _measure(config: OneShotSearchConfig) -> Rates:
    device = torch.device("cuda" if config.use_gpu else "cpu")
    if config.threads_per_worker is not None and device.type == "cpu":
        torch.set_num_threads(config.threads_per_worker)
    # One group of images keeps a CPU as busy as a whole shard, and takes less time.
    shard = config.training.batch_size // config.num_workers
    num_images = shard if device.type == "cuda" else config.training.norm_batch_size
    worker = _calibration_worker(config, num_images, device)
    rows = config.space.search_space.random(CALIBRATION_SUBNETS, np.random.default_rng(0))
    passes = num_images * len(rows)
    training = passes / _seconds(worker, Round(number=0, train_architectures=rows, architectures=None))
    evaluation = passes / _seconds(worker, Round(number=0, train_architectures=None, architectures=rows))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU thread(s)"
    return Rates(training=training, evaluation=evaluation, source=f"measured on {name}, {num_images} images at a time")


def _calibration_worker(config: OneShotSearchConfig, num_images: int, device: torch.device) -> RoundWorker:
    channels, height, width = config.space.input_shape
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, size=(num_images, height, width, channels), dtype=np.uint8)
    images = ImageSet(pixels, np.arange(num_images, dtype=np.int64) % config.space.num_classes)
    names = tuple(str(number) for number in range(config.space.num_classes))
    half = (0.5,) * channels
    splits = DataSplits(images, images, images, half, half, names, config.space.input_shape)
    job = WorkerJob(
        space=config.space,
        data=config.data,
        training=dataclasses.replace(
            config.training, batch_size=num_images, validation_batch_size=num_images, augment=False
        ),
        num_weight_steps=1,
        seed=0,
        broker="",
        namespace="",
        run_path="",
    )
    return RoundWorker(job, splits, device)


def _seconds(worker: RoundWorker, work: Round) -> float:
    """Return the mean time of a round, after a warm-up round."""
    float(worker.run(work).sum())
    started, rounds = time.perf_counter(), 0
    while rounds == 0 or time.perf_counter() - started < CALIBRATION_SECONDS:
        float(worker.run(work).sum())  # waits for the device
        rounds += 1
    return (time.perf_counter() - started) / rounds


@checked_arguments
def dry_run(
    config: OneShotSearchConfig,
    console: Console,
    *,
    images_per_second: PositiveFloat | None = None,
    dollars_per_gpu_hour: NonNegativeFloat | None = None,
    has_images: bool = True,
) -> None:
    """Print the estimate of a search, and check all that can be checked before it starts. Nothing is searched.

    The plan is printed before the checks, so that it can be read before images or cluster exist.

    Args:
        config: the search.
        console: where the estimate is printed.
        images_per_second: the rate of training, see `Rates.training`; None: it is measured on a worker of the cluster.
        dollars_per_gpu_hour: price of one worker.
        has_images: False skips the check of the images, for a plan before they exist.

    Raises:
        ConfigError, DataError, RunError: the error with which `run_search` would stop.
    """
    console.print(plan_table(config))
    if images_per_second is not None:
        console.print(cost_table(config, stated_rates(images_per_second), dollars_per_gpu_hour))
    check_run_folder(config, resume=False)
    if has_images:
        tell_images(check_data(config), console)
    with ray_session():
        check_resources(config, console)
        console.print(_table("The cluster", describe_nodes(check_cluster(config, has_images=has_images))))
        if images_per_second is None:
            with console.status("calibrating"):
                rates = measure_rates(config)
            console.print(cost_table(config, rates, dollars_per_gpu_hour))


def plan_table(config: OneShotSearchConfig) -> Table:
    """The table of what a search does and how much memory it needs."""
    estimate, plan, training = Estimate.of(config), config.plan, config.training
    memory = estimate_memory(config.space, training, config.fewest_workers)
    goals = "targets" if config.targets is not None else "coefficients"
    values = config.targets if config.targets is not None else config.coefficients
    rows = [
        ("space", f"{config.space.name}, {config.space.search_space.num_architectures:.2g} networks"),
        (f"K = {config.num_distributions} {goals}", ", ".join(format_count(value) for value in values or ())),
        ("complexity", f"{config.complexity}, {_range(config)} in this space"),
        ("rounds", f"{plan.warmup_rounds:,} to warm up, {plan.search_rounds:,} to search, in {estimate.trials} trials"),
        ("weight steps", f"{estimate.weight_steps:,} of {training.batch_size:,} images with {_subnets(config)} each"),
        ("training images", f"{estimate.training_images:,}"),
        ("evaluations", f"{estimate.evaluations:,} on {training.validation_batch_size:,} images each"),
        ("weights and optimiser", f"{gigabytes(memory.weights + memory.optimizer)} on each worker"),
        ("activations", f"{gigabytes(memory.subnet)} for the largest subnet with {config.fewest_workers} worker(s)"),
        ("least memory of a GPU", f"{gigabytes(memory.least)}; a round is divided into groups that fit"),
        ("checkpoint", f"{gigabytes(estimate.checkpoint_bytes)} each, {CHECKPOINTS_ON_DISK} are kept"),
    ]
    return _table("The plan", rows)


def cost_table(config: OneShotSearchConfig, rates: Rates, dollars_per_gpu_hour: float | None) -> Table:
    """The table of hours and dollars of a search at given rates."""
    estimate = Estimate.of(config)
    hours = estimate.hours(rates, config.num_workers)
    rows = [
        ("images per second and worker", f"{rates.training:,.0f} trained, {rates.evaluation:,.0f} evaluated"),
        ("", rates.source),
        ("estimated hours", f"{hours:,.1f} on {config.num_workers} worker(s)"),
        ("", "computation of the rounds only, without input, network, checkpoints, restarts and the choice"),
    ]
    if dollars_per_gpu_hour is not None:
        dollars = hours * config.num_workers * dollars_per_gpu_hour
        rows.append(("estimated cost", f"{dollars:,.0f} dollars at {dollars_per_gpu_hour:g} per GPU hour"))
    return _table("The cost", rows)


def _subnets(config: OneShotSearchConfig) -> str:
    number = config.plan.num_train_architectures
    return f"{number} subnet{'' if number == 1 else 's'}"


def _range(config: OneShotSearchConfig) -> str:
    return f"{format_count(config.cost.minimum)} to {format_count(config.cost.maximum)}"


def _table(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for row in rows:
        table.add_row(*row)
    return table
