"""The parts that several verbs of the command line share."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from multinas_ray.errors import printable

Subparsers: TypeAlias = "argparse._SubParsersAction[VerbParser]"

RUN_HELP = "folder <storage_path>/<run> of a search, a local path or a URI such as s3://bucket/folder/run"


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage of dozens of flags."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with status 2."""
        self.exit(2, f"{self.prog}: error: {printable(message)}: see --help for the flags\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; a value -- is refused, which argparse would drop."""
        for each in sys.argv[1:] if args is None else args:
            flag, equals, value = str(each).partition("=")
            if flag.startswith("-") and equals and value == "--":
                self.error(f"argument {flag}: expected a value, not --")
        return super().parse_known_args(args, namespace)


class VerbParser(OneLineParser):
    """The parser of a verb. Its flags are added when it is used, since importing the classes of settings takes time.

    Args:
        fill: adds the flags to the parser.
        command: carries the verb out; returns the exit status.
        settings: arguments of `argparse.ArgumentParser`.
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
        """Parse arguments after all flags have been added."""
        if self._fill is not None:
            self._fill(self)
            self._fill = None
        return super().parse_known_args(args, namespace)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the argument RUN."""
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)


def add_label(parser: argparse.ArgumentParser) -> None:
    """Add the flag for the family that a verb works on."""
    parser.add_argument(
        "--label",
        metavar="LABEL",
        help="label of a family that `select RUN --max ...` has chosen (default: the run's own K networks)",
    )


def add_networks(parser: argparse.ArgumentParser) -> None:
    """Add the flag for some networks of a family."""
    parser.add_argument(
        "--networks",
        metavar="N",
        type=int,
        nargs="+",
        help="numbers of the networks, 0 is the smallest (default: all networks of the family)",
    )


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the verbs that build the networks of a run or read its images."""
    parser.add_argument("--data", metavar="DIR", help="folder of the images, if they have moved since the search")
    add_imports(parser)


def add_imports(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the verbs that read the space of a run."""
    parser.add_argument(
        "--import",
        metavar="MODULE",
        dest="imports",
        action="append",
        default=[],
        help="module or .py file that registers blocks, models, datasets or costs of your own; may be repeated",
    )


def forgive_terminal() -> None:
    """Let the terminal show a question mark for each character that it cannot show, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
