"""The command line: `python -m multinas_ray`, for looking at a run on disk."""

import argparse
import sys
from collections.abc import Sequence

from multinas_ray.errors import MultiNASError

_RUN_HELP = "the folder <storage_path>/<run> of a search: a local path or a URI such as s3://bucket/folder/run"


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
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="multinas-ray",
        description="Look at the record of a multinas_ray search: one search that finds K networks, small to "
        "large. A record can be read while the search goes on.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    verify = commands.add_parser(
        "verify",
        help="check that a run's record is complete and explains its result",
        description="Check that every evaluation of a run is recorded exactly once, and that telling them "
        "again, in order, to a new optimiser gives every recorded distribution again. Exit status: 0 the "
        "record holds, 1 it does not, 2 there is no readable run.",
    )
    verify.add_argument("run", metavar="RUN", help=_RUN_HELP)
    verify.set_defaults(command=_verify)
    plot = commands.add_parser(
        "plot",
        help="draw a run: its networks over their cost, and how its distributions moved",
        description="Write pareto.png (every evaluation, the best ones and the K networks) and "
        "distributions.png (expected complexity and entropy over the updates) into a folder.",
    )
    plot.add_argument("run", metavar="RUN", help=_RUN_HELP)
    plot.add_argument("--output", default=".", metavar="FOLDER", help="where to write the pictures (default: here)")
    plot.add_argument(
        "--cost",
        default=None,
        metavar="NAME",
        help="column of the evaluations for the horizontal axis, such as params or flops (default: the cost "
        "that drove the search)",
    )
    plot.set_defaults(command=_plot)
    return parser


def _verify(arguments: argparse.Namespace) -> int:
    from multinas_ray.results.verify import verify_run

    verification = verify_run(arguments.run)
    print(verification.summary())
    return 0 if verification.holds else 1


def _plot(arguments: argparse.Namespace) -> int:
    from multinas_ray.results import load_run
    from multinas_ray.results.plots import plot_distributions, plot_pareto
    from multinas_ray.results.storage import make_folder, resolve

    run = load_run(arguments.run)
    folder = resolve(arguments.output)
    make_folder(folder)
    plot_pareto(run, folder.join("pareto.png"), cost=arguments.cost)
    plot_distributions(run, folder.join("distributions.png"))
    print(folder.join("pareto.png"), folder.join("distributions.png"), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
