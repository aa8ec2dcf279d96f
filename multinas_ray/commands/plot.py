"""`plot`: the pictures of a run as PNG files."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    commands.add_parser(
        "plot",
        fill=_add_flags,
        command=run,
        help="draw the networks of a run over their cost, and how its distributions moved",
        description="Write pareto.png (all evaluations, the best of them and the K networks) and "
        "distributions.png (expected complexity and entropy over the updates) into a folder.",
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from multinas_ray.commands.flags import add_settings
    from multinas_ray.commands.outputs import PlotConfig

    add_run(parser)
    add_settings(parser, {"what is drawn": PlotConfig})


def run(arguments: argparse.Namespace) -> int:
    """Draw; returns the exit status."""
    from multinas_ray.commands.flags import read_settings
    from multinas_ray.commands.outputs import PlotConfig
    from multinas_ray.report import plot_distributions, plot_pareto
    from multinas_ray.runs import load_run
    from multinas_ray.storage import make_folder, resolve

    config = read_settings(arguments, PlotConfig)
    loaded = load_run(arguments.run)
    folder = resolve(config.output)
    make_folder(folder)
    plot_pareto(loaded, folder.join("pareto.png"), cost=config.cost)
    plot_distributions(loaded, folder.join("distributions.png"))
    print(folder.join("pareto.png"), folder.join("distributions.png"), sep="\n")
    return 0
