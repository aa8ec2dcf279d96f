"""The command line, `multinas-ray` or `python -m multinas_ray`, for everything that follows a search."""

import argparse
import sys
from collections.abc import Sequence

from multinas_ray.commands import export, plot, profile, report, retrain, select, verify
from multinas_ray.commands.common import OneLineParser, VerbParser, forgive_terminal
from multinas_ray.errors import MultiNASError, exits_told

VERBS = (verify, select, retrain, export, report, profile, plot)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments without the name of the program; None: those of the process.

    Returns:
        The exit status: 0 for success, 1 if a check fails, 2 if the command could not be carried out.
    """
    arguments = _parser().parse_args(argv)
    forgive_terminal()
    try:
        with exits_told():
            status: int = arguments.command(arguments)
    except (MultiNASError, OSError) as error:
        print(f"multinas-ray: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("multinas-ray: interrupted", file=sys.stderr)
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        prog="multinas-ray",
        description="Everything that follows a multinas_ray search, which finds K networks from small to large: choose "
        "its networks, train, measure, export and report them. The record can be read while the search goes on.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=VerbParser)
    for verb in VERBS:
        verb.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
