"""`report`: writing one HTML file that shows a run."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_label, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    commands.add_parser(
        "report",
        fill=_add_flags,
        command=run,
        help="write one HTML file that shows a run: its networks, figures and cost",
        description="Write a report of a run as one HTML file that needs no internet connection. It shows the K "
        "networks, the Pareto picture, the networks block by block, how the distributions converged, what the search "
        "cost, why each network was chosen, latency and retraining if known, and the configuration. The report can be "
        "written while the search goes on, and for a Tune search with MultiNASSearch, too.",
    )


def _add_flags(parser: argparse.ArgumentParser) -> None:
    from multinas_ray.commands.flags import add_settings
    from multinas_ray.commands.outputs import ReportConfig

    add_run(parser)
    add_label(parser)
    add_settings(parser, {"what is written": ReportConfig})


def run(arguments: argparse.Namespace) -> int:
    """Write the report; returns the exit status."""
    from multinas_ray.commands.flags import read_settings
    from multinas_ray.commands.outputs import ReportConfig
    from multinas_ray.report import write_report

    config = read_settings(arguments, ReportConfig)
    print(write_report(arguments.run, output=config.output, label=arguments.label))
    return 0
