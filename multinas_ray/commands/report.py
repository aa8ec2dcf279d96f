"""`report`: one HTML file that shows a run."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_label, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    parser = commands.add_parser(
        "report",
        help="write one HTML file that shows a run: its networks, figures and cost",
        description="Write a report of a run as one HTML file that opens in any browser without a network: the K "
        "networks, the Pareto picture, the networks block by block, how the distributions converged, what the search "
        "cost, why each network was chosen, latency and retraining where known, and the configuration. It can be "
        "written while the search goes on, and for a MultiNASSearch in a Tune pipeline.",
    )
    add_run(parser)
    parser.add_argument(
        "--output", metavar="FILE", help="the HTML file, local or a URI (default: report.html in the folder of the run)"
    )
    add_label(parser)
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the report; returns the exit status."""
    from multinas_ray.report import write_report

    print(write_report(arguments.run, output=arguments.output, label=arguments.label))
    return 0
