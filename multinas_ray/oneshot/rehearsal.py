"""The dry run: what a search will do, need and write, and all that can be checked before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from multinas_ray.cluster import PlainTable, describe_nodes, is_cluster_there, ray_session
from multinas_ray.data import DataSplits, available_memory_bytes
from multinas_ray.oneshot.calibration import Rates, can_measure_here, measure_here, measure_on_worker, stated_rates
from multinas_ray.oneshot.checkpoints import CHECKPOINTS_KEPT
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.estimate import Duration, Estimate, told_seconds
from multinas_ray.oneshot.made_up_rounds import measure_driver
from multinas_ray.oneshot.memory_estimate import check_memory, estimate_memory
from multinas_ray.oneshot.preflight import check_cluster, check_data, check_resources, check_run_folder, tell_images
from multinas_ray.oneshot.round_time import RoundTime, Surroundings, gradient_bytes
from multinas_ray.runs import format_count, gigabytes
from multinas_ray.settings import NonNegativeFloat, PositiveFloat, checked_arguments

BYTES_PER_GIGABIT = 1e9 / 8


@checked_arguments
def dry_run(
    config: OneShotSearchConfig,
    console: Console,
    *,
    images_per_second: PositiveFloat | None = None,
    network_gigabits: PositiveFloat | None = None,
    dollars_per_gpu_hour: NonNegativeFloat | None = None,
    has_images: bool = True,
    rules: Sequence[tuple[str, str]] = (),
) -> None:
    """Print the plan of a search, its images, time, memory and files, and check all that can be checked before it.

    Nothing is searched, and Ray is started only to ask a cluster that is running: its nodes are checked, and the speed
    of computing and of reading images is measured on one of its workers. Without a cluster they are measured here for
    some seconds.

    Args:
        config: the search.
        console: where it is printed.
        images_per_second: the rate of training, see `Rates.training`; None: it is measured.
        network_gigabits: rate at which a worker sends gradients, in Gbit/s; None: it is measured between the nodes of a
            cluster, or assumed.
        dollars_per_gpu_hour: price of one worker.
        has_images: False if the images do not exist yet; they are not checked then.
        rules: settings that follow from others: the name of each, and its value with its rule.

    Raises:
        ConfigError, DataError, RunError: the error with which `run_search` would stop.
    """
    console.print(plan_table(config))
    if rules:
        console.print(_table(f"What follows from {config.num_workers} worker(s)", rules))
    check_run_folder(config, resume=False)
    splits = check_data(config) if has_images else None
    if splits is not None:
        tell_images(splits, console)
        console.print(image_facts(config, splits))
    else:
        console.print(f"No images yet at {config.data.path}.", soft_wrap=True, highlight=False, markup=False)
    rates, network = None if images_per_second is None else stated_rates(images_per_second), None
    if is_cluster_there():
        with ray_session():
            check_resources(config, console)
            facts, network = check_cluster(config, console, has_images=has_images)
            console.print(_table("The cluster", describe_nodes(facts)))
            rates = _measured(config, console, rates, has_images=has_images, is_here=False)
    elif can_measure_here(config):
        rates = _measured(config, console, rates, has_images=has_images, is_here=True)
    if rates is None:
        console.print(NO_RATES)
    else:
        beside = surroundings_of(config, network_gigabits, console, measured_network=network)
        console.print(cost_table(config, rates, beside, dollars_per_gpu_hour, splits))
    console.print(files_table(config))


NO_RATES = (
    "The time is not estimated, since no cluster is running and this machine has no GPU: give --images-per-second, or "
    "start the dry run on the cluster."
)


def rates_of(config: OneShotSearchConfig, images_per_second: float | None, console: Console) -> Rates | None:
    """The rates that were given, or that a worker or this machine shows; None if neither has the workers' device."""
    stated = None if images_per_second is None else stated_rates(images_per_second)
    if is_cluster_there():
        with ray_session():
            check_resources(config, console)
            return _measured(config, console, stated, has_images=True, is_here=False)
    return _measured(config, console, stated, has_images=True, is_here=True) if can_measure_here(config) else stated


def surroundings_of(
    config: OneShotSearchConfig,
    network_gigabits: float | None,
    console: Console,
    *,
    measured_network: float | None = None,
) -> Surroundings:
    """What is beside the workers: the driver as it is measured here, and the network.

    Args:
        config: the search.
        network_gigabits: the rate of the network in Gbit/s; None: the measured one, or an assumed one.
        console: where the measurement is shown.
        measured_network: bytes a second that a worker sent in an all-reduce of the cluster; None: not measured.
    """
    with console.status("measuring the driver"):
        beside = Surroundings(driver_seconds=measure_driver(config))
    if network_gigabits is not None:
        return replace(beside, network=network_gigabits * BYTES_PER_GIGABIT, network_source="given")
    if measured_network is not None:
        return replace(beside, network=measured_network, network_source="measured on the cluster")
    return beside


def _measured(
    config: OneShotSearchConfig, console: Console, stated: Rates | None, *, has_images: bool, is_here: bool
) -> Rates:
    if stated is not None and not has_images:
        return stated
    if is_here and not config.use_gpu:
        memory = estimate_memory(config.space, config.training, config.fewest_workers)
        check_memory(memory, available_memory_bytes(), "this machine")
    with console.status("measuring the speed"):
        measure = measure_here if is_here else measure_on_worker
        return measure(config, stated, has_images=has_images)


def plan_table(config: OneShotSearchConfig) -> Table:
    """The table of what a search does and how much memory it needs."""
    estimate, plan, training = Estimate.of(config), config.plan, config.training
    memory = estimate_memory(config.space, training, config.fewest_workers)
    goals = "targets" if config.targets is not None else "coefficients"
    values = config.targets if config.targets is not None else config.coefficients
    rows = [
        ("space", f"{config.space.name}, {config.space.search_space.num_architectures:.2g} networks"),
        *((f"{name} in this space", _range(config, name)) for name in config.costs),
        (f"K = {config.num_distributions} {goals}", ", ".join(format_count(value) for value in values or ())),
        ("", f"of {config.complexity}, the complexity"),
        ("rounds", f"{plan.warmup_rounds:,} to warm up, {plan.search_rounds:,} to search, in {estimate.trials} trials"),
        ("weight steps", f"{estimate.weight_steps:,} of {training.batch_size:,} images with {_subnets(config)} each"),
        ("training images", f"{estimate.training_images:,}"),
        ("evaluations", f"{estimate.evaluations:,} on {training.validation_batch_size:,} images each"),
        ("weights and optimiser", f"{gigabytes(memory.weights + memory.optimizer)} on each worker"),
    ]
    if config.space.most_activations is None:
        rows.append(("activations", "not estimated for a model with choices: try a few rounds first"))
        return _table("The plan", rows)
    subnet = f"{gigabytes(memory.subnet)} for the largest subnet with {config.fewest_workers} worker(s)"
    rows.append(("activations", subnet))
    if config.use_gpu:
        rows.append(("least memory of a GPU", f"{gigabytes(memory.least)}; a round is divided into groups that fit"))
    else:
        number = 1 if training.activation_bytes_limit else plan.num_train_architectures
        needed = memory.weights + memory.optimizer + number * memory.subnet
        rows.append(("memory of a worker", f"up to {gigabytes(needed)}, beside Python, torch and the images"))
    return _table("The plan", rows)


def image_facts(config: OneShotSearchConfig, splits: DataSplits) -> Table:
    """The table of what the images are and how they are divided and varied."""
    sizes = (f"{len(getattr(splits, name)):,} {name}" for name in ("train", "validation", "test"))
    if splits.image_shape is None:
        return _table("The data", [("samples", ", ".join(sizes)), ("inputs of a sample", str(splits.inputs))])
    channels, height, width = splits.image_shape
    rows = [
        ("images", f"{', '.join(sizes)}; {splits.num_classes:,} classes"),
        ("size", f"{height} x {width} pixels, {channels} channel(s)"),
        ("mirrored", "half of the training images" if config.data.mirrors else "none"),
        ("place", config.data.path or f"the source {config.data.source} has them"),
    ]
    return _table("The data", rows)


def cost_table(
    config: OneShotSearchConfig,
    rates: Rates,
    beside: Surroundings,
    dollars_per_gpu_hour: float | None,
    splits: DataSplits | None = None,
) -> Table:
    """The table of time and dollars of a search at given rates; with its images the choice is estimated too."""
    duration = Duration.of(
        config, rates, beside, None if splits is None else (len(splits.train), len(splits.validation))
    )
    step = RoundTime.of(config, rates, beside, evaluates=False)
    search = RoundTime.of(config, rates, beside, trains=config.train_during_search, evaluates=True)
    trained, evaluated = (
        config.training.largest_shard(batch, config.num_workers)
        for batch in (config.training.batch_size, config.training.validation_batch_size)
    )
    with_driver = ", beside the workers" if search.has_own_cores else ""
    rows = [
        ("images per second and worker", f"{_rate(rates.training)} trained, {_rate(rates.evaluation)} evaluated"),
        ("", rates.source),
        ("a weight step", f"{_short(step.training)} on {trained} images of a worker"),
        ("all-reduce", _all_reduce(config, step, beside)),
        ("an evaluation", f"{_short(search.evaluation)} on {evaluated} images of a worker"),
        ("reading images", _reading(rates, search)),
        ("driver and record", f"{_short(search.driver)} a round{with_driver}"),
        ("a round", f"{_short(step.total)} in the warm-up, {_short(search.total)} in the search"),
        ("estimated time", f"{told_seconds(duration.total)} on {config.num_workers} worker(s)"),
        ("", _told_parts(duration, search, knows_images=splits is not None)),
    ]
    if dollars_per_gpu_hour is not None:
        dollars = duration.total / 3600 * config.num_workers * dollars_per_gpu_hour
        rows.append(("estimated cost", f"{dollars:,.0f} dollars at {dollars_per_gpu_hour:g} per GPU hour"))
    return _table("The cost", rows)


def _all_reduce(config: OneShotSearchConfig, one: RoundTime, beside: Surroundings) -> str:
    if config.num_workers == 1:
        return "none, there is one worker"
    rate = f"{beside.network / BYTES_PER_GIGABIT:.3g} Gbit/s, {beside.network_source}"
    return f"{_short(one.all_reduce)} a weight step, for {gigabytes(gradient_bytes(config))} of gradients at {rate}"


def _reading(rates: Rates, one: RoundTime) -> str:
    if rates.reading is None or one.reading is None:
        return "not measured"
    way = ", while the worker computes" if rates.reads_beside else ""
    return f"{_short(one.reading)} a round at {rates.reading:,.0f} images per second and worker{way}"


def _told_parts(duration: Duration, one: RoundTime, *, knows_images: bool) -> str:
    """What the estimate includes, and what it does not."""
    parts = [f"{told_seconds(duration.start)} to start", f"{told_seconds(duration.rounds)} of rounds with all of these"]
    without = ["checkpoints", "restarts", "other programs"]
    if knows_images:
        parts.append(f"{told_seconds(duration.choice)} of choosing the networks")
    else:
        without.insert(0, "the choice of the networks")
    if one.reading is None:
        without.insert(0, "reading images")
    return f"{', '.join(parts)}; without {', '.join(without)}"


def _rate(rate: float) -> str:
    """A rate in words; a slow one is not told as none."""
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _short(seconds: float) -> str:
    """A time of a round in words."""
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.{0 if seconds >= 0.01 else 1}f} ms"


def files_table(config: OneShotSearchConfig) -> Table:
    """The table of the files that a search will write, with the sizes of the large ones."""
    estimate, number = Estimate.of(config), config.num_distributions
    weights = estimate_memory(config.space, config.training, config.num_workers).weights
    networks = number * 4 * int(config.space.costs["params"].maximum)
    rounds, updates = f"{config.plan.num_rounds:,}", f"{config.plan.search_rounds * number:,}"
    rows = [
        ("folder", config.run_path),
        ("evaluations, distributions, rounds", f"tables of {estimate.evaluations:,}, {updates} and {rounds} rows"),
        ("checkpoints", f"{CHECKPOINTS_KEPT} checkpoints of {gigabytes(estimate.checkpoint_bytes)}"),
        ("supernet.pt", gigabytes(weights)),
        ("networks", f"{number} of them, up to {gigabytes(networks)} together"),
        ("architectures.parquet, candidates.parquet", "the networks, and why they were chosen"),
        ("config.yaml, config.json, pareto.png", "the settings, and a picture"),
        ("curves", config.curves_path),
    ]
    return _table("The files that will be written", rows)


def _subnets(config: OneShotSearchConfig) -> str:
    number = config.plan.num_train_architectures
    return f"{number} subnet{'' if number == 1 else 's'}"


def _range(config: OneShotSearchConfig, name: str) -> str:
    cost = config.costs[name]
    unit = f" {cost.unit}" if cost.unit and cost.unit != name else ""
    return f"{format_count(cost.minimum)} to {format_count(cost.maximum)}{unit}"


def _table(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    table = PlainTable(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
