"""What several verbs of the command line share."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

RUN_HELP = "the folder <storage_path>/<run> of a search: a local path or a URI such as s3://bucket/folder/run"


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument RUN."""
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)


def add_label(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names the family of networks a verb works on."""
    parser.add_argument(
        "--label",
        metavar="LABEL",
        help="a family of networks made by `select RUN --max ...` (default: the run's own K networks)",
    )


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of every verb that builds a run's networks or reads its images."""
    parser.add_argument(
        "--data", metavar="DIR", help="folder of the images, if they lie elsewhere than when the search ran"
    )
    add_imports(parser)


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add the flag of every verb that reads a run's space."""
    parser.add_argument(
        "--import",
        metavar="MODULE",
        dest="imports",
        action="append",
        default=[],
        help="module or .py file that defines blocks of your own with @register_block; may be repeated",
    )
