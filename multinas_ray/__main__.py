"""The command line: `multinas-ray`, or `python -m multinas_ray`, for what comes after a search."""

import argparse
import sys
from collections.abc import Sequence

from multinas_ray.commands import export, plot, profile, report, retrain, select, verify
from multinas_ray.commands.common import OneLineParser, VerbParser
from multinas_ray.errors import MultiNASError

VERBS = (verify, select, retrain, export, report, profile, plot)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Arguments without the program's name; None takes the process's own.

    Returns:
        Exit status: 0 done, 1 the record does not hold, 2 the command could not be carried out.
    """
    arguments = _parser().parse_args(argv)
    try:
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
        description="What comes after a multinas_ray search (one search that finds K networks, small to large): "
        "choose its networks, train, measure, export and report them. A record can be read while the search goes on.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=VerbParser)
    for verb in VERBS:
        verb.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
