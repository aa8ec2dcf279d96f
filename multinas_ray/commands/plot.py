"""`plot`: a run's pictures as PNG files."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    parser = commands.add_parser(
        "plot",
        help="draw a run: its networks over their cost, and how its distributions moved",
        description="Write pareto.png (every evaluation, the best ones and the K networks) and "
        "distributions.png (expected complexity and entropy over the updates) into a folder.",
    )
    add_run(parser)
    parser.add_argument("--output", default=".", metavar="FOLDER", help="where to write the pictures (default: here)")
    parser.add_argument(
        "--cost",
        default=None,
        metavar="NAME",
        help="column of the evaluations for the horizontal axis, such as params or flops (default: the cost "
        "that drove the search)",
    )
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Draw; returns the exit status."""
    from multinas_ray.report import plot_distributions, plot_pareto
    from multinas_ray.runs import load_run
    from multinas_ray.storage import make_folder, resolve

    loaded = load_run(arguments.run)
    folder = resolve(arguments.output)
    make_folder(folder)
    plot_pareto(loaded, folder.join("pareto.png"), cost=arguments.cost)
    plot_distributions(loaded, folder.join("distributions.png"))
    print(folder.join("pareto.png"), folder.join("distributions.png"), sep="\n")
    return 0
