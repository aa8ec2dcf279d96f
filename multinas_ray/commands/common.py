"""What several verbs of the command line share."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

Subparsers: TypeAlias = "argparse._SubParsersAction[VerbParser]"

RUN_HELP = "the folder <storage_path>/<run> of a search: a local path or a URI such as s3://bucket/folder/run"


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage of dozens of flags before it."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {message}; --help tells the flags\n")


class VerbParser(OneLineParser):
    """The parser of a verb, whose flags are added when they are asked for: classes of settings take time to load.

    Args:
        fill: adds the flags.
        command: carries the verb out; returns the exit status.
        settings: those of `argparse.ArgumentParser`.
    """

    def __init__(
        self,
        *,
        fill: Callable[[argparse.ArgumentParser], None],
        command: Callable[[argparse.Namespace], int],
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._fill: Callable[[argparse.ArgumentParser], None] | None = fill
        self.set_defaults(command=command)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, with all flags."""
        if self._fill is not None:
            self._fill(self)
            self._fill = None
        return super().parse_known_args(args, namespace)


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


def add_networks(parser: argparse.ArgumentParser) -> None:
    """Add the flag that names some networks of a family."""
    parser.add_argument(
        "--networks",
        metavar="N",
        type=int,
        nargs="+",
        help="only these networks, by their number in the table; 0 is the smallest",
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
