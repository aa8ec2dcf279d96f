"""What the command line of an experiment does before a search starts: the dry run, and the rounds that fit a time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from multinas_ray.errors import ConfigError
from multinas_ray.oneshot import OneShotSearchConfig

if TYPE_CHECKING:
    from rich.console import Console

    from multinas_ray.commands.experiment import ExperimentOptions


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the dry run and of the estimate of time."""
    group = parser.add_argument_group("before the start").add_argument
    text = "print what the search will do, need, take and write; check all that can be checked; and stop"
    group("--dry-run", action="store_true", help=text)
    text = "images per second on which a worker trains an average subnet (default: measured for some seconds)"
    group("--images-per-second", metavar="R", type=float, help=text)
    text = "Gbit/s at which a worker sends gradients, for the dry run (default: measured between nodes, or 10)"
    group("--network-gigabits", metavar="G", type=float, help=text)
    group("--dollars-per-gpu-hour", metavar="PRICE", type=float, help="price of a worker, for the dry run")


def show_plan(
    options: ExperimentOptions,
    config: OneShotSearchConfig,
    rules: Sequence[tuple[str, str]],
    arguments: argparse.Namespace,
    console: Console,
) -> None:
    """Do the dry run.

    Args:
        options: those of the experiment.
        config: the search.
        rules: settings that follow from others, see `Experiment.rules_of`.
        arguments: the parsed flags.
        console: where it is printed.
    """
    from multinas_ray.oneshot import dry_run

    dry_run(
        config,
        console,
        images_per_second=arguments.images_per_second,
        network_gigabits=arguments.network_gigabits,
        dollars_per_gpu_hour=arguments.dollars_per_gpu_hour,
        has_images=options.has_images,
        rules=rules,
    )


def fitted(
    options: ExperimentOptions, config: OneShotSearchConfig, arguments: argparse.Namespace, console: Console
) -> OneShotSearchConfig:
    """The search with the rounds that fit the time budget; a resumed one keeps those that it was started with."""
    if options.time_budget is None:
        return config
    if arguments.resume:
        from multinas_ray.runs import load_config

        plan = load_config(config.run_path)["plan"]
        return replace(config, warmup_rounds=plan["warmup_rounds"], search_rounds=plan["search_rounds"])
    from multinas_ray.data import inspect_data
    from multinas_ray.oneshot import fitted_to, rates_of, surroundings_of, told_seconds

    rates = rates_of(config, arguments.images_per_second, console)
    if rates is None:
        raise ConfigError(
            "time_budget must know the speed of a GPU, and neither a cluster is running nor has this machine a GPU: "
            "give --images-per-second"
        )
    facts = inspect_data(config.data)
    beside = surroundings_of(config, arguments.network_gigabits, console)
    config = fitted_to(config, options.time_budget, rates, beside, (facts.num_train, facts.num_validation))
    if not arguments.show_config:
        rounds = f"{config.warmup_rounds:,} rounds to warm up and {config.search_rounds:,} to search"
        text = f"Into {told_seconds(options.time_budget)} fit {rounds} ({rates.source})."
        console.print(text, soft_wrap=True, highlight=False, markup=False)
    return config
