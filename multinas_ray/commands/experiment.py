"""The command line of all experiments: the flags of a configuration, the run, its tables and its errors."""

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
"""Name of the cost that a latency table gives."""

ConfigFunction = Callable[[argparse.Namespace], OneShotSearchConfig]
CompleteFunction = Callable[[OneShotSearchConfig, argparse.Namespace, Console], None]


def add_run_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the flags of every experiment.

    Args:
        parser: the parser of the experiment.
        name: the default name of the run.
    """
    parser.set_defaults(min_workers=None)  # --num-workers sets it too
    group = parser.add_argument_group("the run")
    group.add_argument(
        "--storage", metavar="DIR", default="runs", help="folder of all runs, local or s3:// (default: runs)"
    )
    group.add_argument("--name", default=name, help="name of this run and of its folder (default: %(default)s)")
    group.add_argument(
        "--seed", type=int, default=0, help="seed of the weights, batches and draws (default: %(default)s)"
    )
    group.add_argument(
        "--num-workers",
        metavar="W",
        action=_WorkersAction,
        default=1,
        help="number of workers that share each batch (default: 1); with MIN:MAX fewer of them go on while nodes are "
        "missing",
    )
    group.add_argument(
        "--wait-for-nodes",
        metavar="MINUTES",
        type=float,
        default=0,
        help="ask the autoscaler of the cluster for nodes, and wait at most so many minutes for them (default: 0)",
    )
    group.add_argument(
        "--threads-per-worker",
        metavar="T",
        type=int,
        help="CPU threads of each worker (default: the workers share the cores of their node); 1 if other work uses "
        "them too",
    )
    group.add_argument("--use-gpu", action="store_true", help="give each worker one GPU")
    group.add_argument("--resume", action="store_true", help="resume the run of this name")
    _add_goal_arguments(parser.add_argument_group("which networks"))


def _add_goal_arguments(group: argparse._ArgumentGroup) -> None:
    either = group.add_mutually_exclusive_group()
    either.add_argument(
        "--targets",
        metavar="T",
        type=float,
        nargs="+",
        help="targets in rising order, in the unit of the complexity: 2e6 asks for the best network of at most two "
        "million parameters (default: those of the experiment)",
    )
    either.add_argument(
        "--coefficients",
        metavar="EPS",
        type=float,
        nargs="+",
        help="weights of the complexity in rising order, in place of targets; 0 asks for the best network of any size",
    )
    group.add_argument(
        "--complexity",
        metavar="COST",
        help="the cost that targets or coefficients refer to: params, flops, latency (with --latency-table) or a "
        "cost of your own (default: that of the experiment, whose targets keep their places between the least and "
        "the largest cost)",
    )
    group.add_argument(
        "--latency-table",
        metavar="FILE",
        help="latency table of the blocks of the space, from `multinas-ray profile`; it adds the cost latency",
    )


class _WorkersAction(argparse.Action):
    """Reads W into `num_workers`, or MIN:MAX into `min_workers` and `num_workers`."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        least, colon, most = str(values).rpartition(":")
        if not most.isdecimal() or bool(colon) != least.isdecimal():
            parser.error(f"{option_string} must be a number of workers, or MIN:MAX such as 4:8, got {values}")
        namespace.num_workers, namespace.min_workers = int(most), int(least) if colon else None


def with_run_arguments(config: OneShotSearchConfig, arguments: argparse.Namespace) -> OneShotSearchConfig:
    """Return the configuration with the values of the flags of `add_run_arguments`."""
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
    """Return the settings that --targets, --coefficients, --complexity and --latency-table change."""
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
                "the complexity latency needs a latency table of the blocks of this space: make one with "
                "`multinas-ray profile` and give it with --latency-table FILE"
            )
        return {"complexity": complexity}
    latency = read_latency_table(arguments.latency_table).cost(config.space, LATENCY)
    return {"complexity": complexity, "extra_costs": (*config.extra_costs, latency)}


def keep_latency_table(table: str, run_path: str) -> None:
    """Copy a latency table into the folder of a run, and its comparison with whole networks if there is one.

    Args:
        table: the file of the table.
        run_path: the folder of the run, whose report shows the comparison.
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
    """Parse the flags, search, and show the result: the body of the main function of an experiment.

    Args:
        parser: a parser with the flags of `add_run_arguments`.
        config_of: makes the configuration from the parsed flags.
        argv: the command line; None: sys.argv.
        complete: called after a finished search, for example to retrain; None: the next commands are printed instead.

    Returns:
        The exit status: 0; 2 after an error, which is one line on standard error; 130 after an interrupt.
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
        _print(
            console, f"Interrupted. Everything finished is kept. Go on with:\n  {shlex.join([*command, '--resume'])}"
        )
        return EXIT_INTERRUPTED
    return 0


def _show_interrupted(run: Run, command: list[str], console: Console) -> None:
    if (table := latest_distributions_table(run)) is not None:
        console.print(table)
    _print(console, f"Stopped after {len(run.evaluations)} evaluations. Nothing is lost. Go on with:")
    _print(console, f"  {shlex.join([*command, '--resume'])}")


def _show_finished(run: Run, config: OneShotSearchConfig, console: Console) -> None:
    console.print(networks_table(run.architectures))
    run_path = resolve(config.run_path)
    picture, damaged = run_path.join(PARETO_FILE), run_path.join(DAMAGED_FOLDER)
    for what, where in (("Results", run_path), ("Picture", picture), ("Curves", config.curves_path)):
        _print(console, f"{what}: {where}")
    if list_files(damaged, ".txt"):
        _print(console, f"Damaged images, each of which was replaced by another image of its class: {damaged}")


def _print(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, highlight=False, markup=False)
