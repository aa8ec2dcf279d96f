"""`verify`: checking whether the record of a run explains its result."""

from __future__ import annotations

import argparse

from multinas_ray.commands.common import Subparsers, add_run


def add_parser(commands: Subparsers) -> None:
    """Describe the verb."""
    commands.add_parser(
        "verify",
        fill=_add_arguments,
        command=run,
        help="check that the record of a run is complete and explains its result",
        description="Check that every evaluation of a run is recorded exactly once, and that a new optimiser which is "
        "told all evaluations in order gives every recorded distribution again. The exit status is 0 if the record "
        "holds, 1 if it does not, and 2 if there is no readable run.",
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument(
        "--repair",
        action="store_true",
        help="first rebuild damaged files from the others: the distributions and the totals from the evaluations, "
        "config.json from the metadata of the tables. Do not use this while the search is still running",
    )


def run(arguments: argparse.Namespace) -> int:
    """Verify; returns the exit status."""
    from multinas_ray.runs import repair_damage, verify_run

    if arguments.repair:
        for repaired in repair_damage(arguments.run):
            print(repaired)
    verification = verify_run(arguments.run)
    print(verification.summary())
    return 0 if verification.holds else 1
