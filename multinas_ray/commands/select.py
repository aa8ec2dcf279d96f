"""`select`: the networks of a trained supernet, for its own coefficients or for any budgets."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_build_arguments, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    commands.add_parser(
        "select",
        fill=_add_flags,
        command=run,
        help="choose the networks again, or for any budgets (--max params=2e6), with no new search",
        description="Choose networks of a finished search. The likeliest network of each distribution, the best of "
        "the record and fresh draws are evaluated with the supernet's weights on all validation images; of those "
        "within the budget that cannot be told from the best the one nearest to it is chosen, and a table tells why. "
        "Budgets are hard: if nothing meets one, the nearest is told and no network returned. Without --max the run's "
        "own K networks are chosen again.",
        epilog="example: multinas-ray select runs/quickstart --max params=20000,40000 --max flops=5e5",
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from multinas_ray.commands.flags import add_settings
    from multinas_ray.selection import SelectConfig

    add_run(parser)
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="name of the new family, and of its folder in RUN/families (default: named after the limits)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace networks even if they have been retrained")
    add_build_arguments(parser)
    add_settings(parser, {"what is chosen": SelectConfig})


def run(arguments: argparse.Namespace) -> int:
    """Select; returns the exit status."""
    from rich.console import Console

    from multinas_ray.commands.flags import read_settings
    from multinas_ray.selection import SelectConfig, networks_table, select_networks

    console = Console()
    family = select_networks(
        arguments.run,
        read_settings(arguments, SelectConfig),
        label=arguments.label,
        overwrite=arguments.overwrite,
        data_path=arguments.data,
        imports=arguments.imports,
        console=console,
    )
    console.print(networks_table(family.architectures))
    console.print(f"Networks: {family.path}", soft_wrap=True, highlight=False, markup=False)
    return 0
