"""`select`: the networks of a trained supernet, for its own coefficients or for any budgets."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_build_arguments, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    parser = commands.add_parser(
        "select",
        help="choose the networks again, or for any budgets (--max params=2e6), with no new search",
        description="Choose networks of a finished search. The likeliest network of each distribution, the best of "
        "the record and fresh draws are evaluated with the supernet's weights on all validation images; of those "
        "within the budget that cannot be told from the best the one nearest to it is chosen, and a table tells why. "
        "Budgets are hard: if nothing meets one, the nearest is told and no network returned. Without --max the run's "
        "own K networks are chosen again.",
        epilog="example: multinas-ray select runs/quickstart --max params=20000,40000 --max flops=5e5",
    )
    add_run(parser)
    _add_choice(parser)
    _add_machine(parser)
    add_build_arguments(parser)
    parser.set_defaults(command=run)


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max",
        metavar="NAME=VALUE[,VALUE...]",
        dest="limits",
        action="append",
        type=_limit,
        help="largest allowed cost, in its own unit: params, flops (multiply-adds of one image) or another recorded "
        "cost. May be repeated: all must be kept. Several values ask for several networks; lists are of one length "
        "and taken together, a single value holds for all",
    )
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="name of the new family, and of its folder in RUN/families (default: named after the limits)",
    )
    parser.add_argument(
        "--candidates",
        metavar="N",
        type=int,
        help="candidates evaluated for each network (default: 10; the mode, and half each evaluated and drawn)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace networks even if they have been retrained")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--num-workers", metavar="W", type=int, default=1, help="processes that share the candidates (default: 1)"
    )
    parser.add_argument(
        "--threads-per-worker",
        metavar="T",
        type=int,
        help="CPU threads of each worker (default: its node's cores, shared); 1 where other work uses the cores too",
    )
    parser.add_argument("--use-gpu", action="store_true", help="one GPU for each of them")


def run(arguments: argparse.Namespace) -> int:
    """Select; returns the exit status."""
    from rich.console import Console

    from multinas_ray.errors import ConfigError
    from multinas_ray.selection import CANDIDATES_PER_NETWORK, networks_table, select_networks

    limits = None if arguments.limits is None else dict(arguments.limits)
    if limits is not None and len(limits) < len(arguments.limits):
        raise ConfigError("each cost is limited once: give several values as --max NAME=V1,V2")
    console = Console()
    family = select_networks(
        arguments.run,
        limits=limits,
        label=arguments.label,
        candidates_per_network=CANDIDATES_PER_NETWORK if arguments.candidates is None else arguments.candidates,
        num_workers=arguments.num_workers,
        threads_per_worker=arguments.threads_per_worker,
        use_gpu=arguments.use_gpu,
        overwrite=arguments.overwrite,
        data_path=arguments.data,
        imports=arguments.imports,
        console=console,
    )
    console.print(networks_table(family.architectures))
    console.print(f"Networks: {family.path}", soft_wrap=True, highlight=False, markup=False)
    return 0


def _limit(text: str) -> tuple[str, list[float]]:
    name, equals, values = text.partition("=")
    try:
        numbers = [float(value) for value in values.split(",")]
    except ValueError:
        numbers = []
    if not name or not equals or not numbers:
        raise argparse.ArgumentTypeError(f"give NAME=VALUE or NAME=VALUE,VALUE, such as params=2e6, not {text!r}")
    return name, numbers
