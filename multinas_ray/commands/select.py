"""`select`: choosing networks of a trained supernet, for the goals of its search or for any budgets."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_build_arguments, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    commands.add_parser(
        "select",
        fill=_add_flags,
        command=run,
        help="choose the networks again, or for any budgets (--max params=2e6), without a new search",
        description="Choose networks of a finished search. The candidates are the likeliest architectures of the "
        "distributions, the best evaluated ones, draws, mutations of the best, and uniform draws from the last part of "
        "the budget. They are evaluated with the supernet's weights by successive halving, the last ones on all "
        "validation images, and the one within the budget that is ranked best by its loss and by a prior of untrained "
        "networks is chosen; a table shows the last ones with the reasons. Budgets are hard: if no candidate keeps "
        "one, the nearest is named and no network is chosen. Without --max the run's own K networks are chosen again.",
        epilog="example: multinas-ray select runs/quickstart --max params=3000,6000 --max flops=1e5",
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from multinas_ray.commands.flags import add_settings
    from multinas_ray.selection import SelectConfig

    add_run(parser)
    parser.add_argument(
        "--label",
        metavar="NAME",
        help="label of the new family, which names its folder in RUN/families (default: made from the limits)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace networks even if they have been retrained")
    add_build_arguments(parser)
    add_settings(parser, {"what is chosen": SelectConfig})


def run(arguments: argparse.Namespace) -> int:
    """Select; returns the exit status."""
    from multinas_ray.cluster import standard_console
    from multinas_ray.commands.flags import read_settings
    from multinas_ray.commands.next_steps import tell_next
    from multinas_ray.runs import load_config, primary_metric
    from multinas_ray.selection import SelectConfig, networks_table, select_networks
    from multinas_ray.storage import resolve

    console = standard_console()
    family = select_networks(
        arguments.run,
        read_settings(arguments, SelectConfig),
        label=arguments.label,
        overwrite=arguments.overwrite,
        data_path=arguments.data,
        imports=arguments.imports,
        console=console,
    )
    console.print(networks_table(family.architectures, primary_metric(load_config(arguments.run))))
    console.print(f"Networks: {family.path}", soft_wrap=True, highlight=False, markup=False)
    run = str(resolve(arguments.run))
    label = None if family.path == run else resolve(family.path).name
    verbs = ("retrain", "export", "report")
    tell_next(console, verbs, run, label=label, data=arguments.data, imports=arguments.imports)
    return 0
