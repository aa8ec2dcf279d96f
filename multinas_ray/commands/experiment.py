"""The command line that all experiments share: a configuration's flags, one run, its tables, its errors in a line."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from multinas_ray.errors import ConfigError, MultiNASError
from multinas_ray.latency import TABLE_FILE, read_latency_table, validation_file
from multinas_ray.oneshot import (
    DAMAGED_FOLDER,
    PARETO_FILE,
    OneShotSearchConfig,
    latest_distributions_table,
    run_search,
)
from multinas_ray.runs import Run
from multinas_ray.selection import networks_table
from multinas_ray.storage import exists, list_files, read_bytes, resolve, write_atomic

EXIT_ERROR, EXIT_INTERRUPTED = 2, 130

LATENCY = "latency"
"""The cost that a latency table gives."""

ConfigFunction = Callable[[argparse.Namespace], OneShotSearchConfig]
CompleteFunction = Callable[[OneShotSearchConfig, argparse.Namespace, Console], None]


def add_run_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the flags of every experiment.

    Args:
        parser: the experiment's parser.
        name: default name of its run.
    """
    parser.set_defaults(min_workers=None)  # --num-workers sets it too
    group = parser.add_argument_group("the run")
    group.add_argument(
        "--storage", metavar="DIR", default="runs", help="folder of all runs, local or s3:// (default: runs)"
    )
    group.add_argument("--name", default=name, help="name of this run and of its folder (default: %(default)s)")
    group.add_argument("--seed", type=int, default=0, help="decides start, batches and draws (default: %(default)s)")
    group.add_argument(
        "--num-workers",
        metavar="W",
        action=_WorkersAction,
        default=1,
        help="workers that share each batch (default: 1); MIN:MAX goes on with fewer while nodes are gone",
    )
    group.add_argument(
        "--wait-for-nodes",
        metavar="MINUTES",
        type=float,
        default=0,
        help="ask the cluster's autoscaler for nodes and wait for them, at most so many minutes (default: 0)",
    )
    group.add_argument(
        "--threads-per-worker",
        metavar="T",
        type=int,
        help="CPU threads of each worker (default: its node's cores, shared); 1 where other work uses the cores too",
    )
    group.add_argument("--use-gpu", action="store_true", help="one GPU for each worker")
    group.add_argument("--resume", action="store_true", help="go on with the run of this name")
    _add_goal_arguments(parser.add_argument_group("which networks"))


def _add_goal_arguments(group: argparse._ArgumentGroup) -> None:
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--targets",
        metavar="T",
        type=float,
        nargs="+",
        help="the best network within each, rising, in the complexity's own unit: 2e6 is two million parameters "
        "(default: what the experiment says)",
    )
    either.add_argument(
        "--coefficients",
        metavar="EPS",
        type=float,
        nargs="+",
        help="in place of targets: weights of the complexity, rising from 0, for the best whatever its size",
    )
    group.add_argument(
        "--complexity",
        metavar="COST",
        help="what targets or coefficients are about: params, flops, latency (with --latency-table) or a cost of your "
        "own (default: what the experiment says; its targets keep their places between the least and the most)",
    )
    group.add_argument(
        "--latency-table",
        metavar="FILE",
        help="latencies of the space's blocks, from `multinas-ray profile`: their sum is recorded as the cost latency",
    )


class _WorkersAction(argparse.Action):
    """`num_workers` from W, or from MIN:MAX together with `min_workers`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        least, colon, most = str(values).rpartition(":")
        if not most.isdecimal() or bool(colon) != least.isdecimal():
            parser.error(f"{option_string} is a number of workers, or MIN:MAX as 4:8; got {values}")
        namespace.num_workers, namespace.min_workers = int(most), int(least) if colon else None


def with_run_arguments(config: OneShotSearchConfig, arguments: argparse.Namespace) -> OneShotSearchConfig:
    """The configuration with the flags of `add_run_arguments`."""
    return dataclasses.replace(
        config,
        storage_path=arguments.storage,
        name=arguments.name,
        seed=arguments.seed,
        num_workers=arguments.num_workers,
        min_workers=arguments.min_workers,
        node_wait_seconds=60 * arguments.wait_for_nodes,
        threads_per_worker=arguments.threads_per_worker,
        use_gpu=arguments.use_gpu,
        **_goal_settings(config, arguments),
    )


def _goal_settings(config: OneShotSearchConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that --targets, --coefficients, --complexity and --latency-table change."""
    settings = _cost_settings(config, arguments)
    if arguments.targets is not None or arguments.coefficients is not None:
        settings |= {"targets": arguments.targets, "coefficients": arguments.coefficients}
        if config.samples_per_update is not None:  # the nearest multiple of the new K, not fewer
            count = len(arguments.targets or arguments.coefficients)
            settings["samples_per_update"] = -(-config.samples_per_update // count) * count
        return settings
    costs = {**config.costs, **{cost.name: cost for cost in settings.get("extra_costs", ())}}
    if config.targets is not None and settings["complexity"] != config.complexity and settings["complexity"] in costs:
        before, now = config.cost, costs[settings["complexity"]]
        places = np.interp(config.targets, (before.minimum, before.maximum), (now.minimum, now.maximum))
        settings["targets"] = places.tolist()
    return settings


def _cost_settings(config: OneShotSearchConfig, arguments: argparse.Namespace) -> dict[str, Any]:
    complexity = config.complexity if arguments.complexity is None else arguments.complexity
    if arguments.latency_table is None:
        if complexity == LATENCY and LATENCY not in config.costs:
            raise ConfigError(
                "the complexity latency needs a table of this space's blocks: make one with `multinas-ray profile` "
                "and give it by --latency-table FILE"
            )
        return {"complexity": complexity}
    latency = read_latency_table(arguments.latency_table).cost(config.space, LATENCY)
    return {"complexity": complexity, "extra_costs": (*config.extra_costs, latency)}


def keep_latency_table(table: str, run_path: str) -> None:
    """Copy a latency table into the run's folder, and the comparison with whole networks where there is one.

    Args:
        table: the table's file.
        run_path: the run's folder; its report shows the comparison.
    """
    target = resolve(run_path).join(TABLE_FILE)
    for source, copy in ((table, target), (validation_file(table), validation_file(target))):
        if exists(source):
            write_atomic(copy, read_bytes(source))


def run_experiment(
    parser: argparse.ArgumentParser,
    config_of: ConfigFunction,
    argv: list[str] | None = None,
    *,
    complete: CompleteFunction | None = None,
) -> int:
    """Parse, search, show: the body of an experiment's main.

    Args:
        parser: has the flags of `add_run_arguments`.
        config_of: makes the configuration from the parsed flags.
        argv: the command line; sys.argv by default.
        complete: what follows a finished search, such as retraining; None: its verbs are named instead.

    Returns:
        Exit status: 0, 2 after an error (one line on standard error), 130 after an interrupt.
    """
    arguments = parser.parse_args(argv)
    console = Console()
    command = [sys.executable, sys.argv[0], *(sys.argv[1:] if argv is None else argv)]
    command = [each for each in command if each != "--resume"]
    try:
        config = config_of(arguments)
        run = run_search(config, resume=arguments.resume, console=console)
        if arguments.latency_table is not None:
            keep_latency_table(arguments.latency_table, config.run_path)
        if not run.is_finished:
            _show_interrupted(run, command, console)
            return EXIT_INTERRUPTED
        _show_finished(run, config, console)
        if complete is None:
            _print(console, f"Next: multinas-ray retrain|export|report {shlex.quote(config.run_path)}")
        else:
            complete(config, arguments, console)
    except MultiNASError as error:
        Console(stderr=True, soft_wrap=True).print(f"error: {error}", style="bold red", markup=False, highlight=False)
        return EXIT_ERROR
    except KeyboardInterrupt:
        _print(console, f"Interrupted; what is finished is kept. Go on with:\n  {shlex.join([*command, '--resume'])}")
        return EXIT_INTERRUPTED
    return 0


def _show_interrupted(run: Run, command: list[str], console: Console) -> None:
    if (table := latest_distributions_table(run)) is not None:
        console.print(table)
    _print(console, f"Stopped after {len(run.evaluations)} evaluations; nothing is lost. Go on with:")
    _print(console, f"  {shlex.join([*command, '--resume'])}")


def _show_finished(run: Run, config: OneShotSearchConfig, console: Console) -> None:
    console.print(networks_table(run.architectures))
    run_path = resolve(config.run_path)
    picture, damaged = run_path.join(PARETO_FILE), run_path.join(DAMAGED_FOLDER)
    for what, where in (("Results", run_path), ("Picture", picture), ("Curves", config.curves_path)):
        _print(console, f"{what}: {where}")
    if list_files(damaged, ".txt"):
        _print(console, f"Damaged images, each replaced by another of its class: {damaged}")


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
