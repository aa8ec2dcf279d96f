"""Search on a large space with a fixed evaluator: the mobile space for CIFAR-10, 1e13 architectures.

K = 4 networks are wanted, each within a target: the 2, 20, 50 and 85 % quantiles of the FLOPs of uniformly drawn
architectures. Every method may evaluate 4,000 networks in all, those with a target at a time a quarter for each; a
network that was evaluated before is free. The answer for a target is the best evaluated network within it. Measured is
how far the answers' losses lie above the best there are, as a mean over the targets.

The evaluator "made-up" has losses exp(-gain), a gain being a sum over blocks and over pairs of neighbours that grows
less and less with the FLOPs; its best networks are known exactly, by dynamic programming. Each seed has other gains.

Writes to a folder of the evaluator in --out: large_space.csv (a row for each method, seed and number of evaluations),
large_space.md (medians over the seeds with 95 % bootstrap intervals, and paired differences from evolution) and
large_space.png. Each piece of work is kept when it is done: the same command goes on after any end.
Needs pip install -e ".[compare]"; run it from the repository's folder, as python -m experiments.large_space.
"""

import argparse
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

from experiments.large_space.methods import METHODS
from experiments.large_space.pieces import EVALUATORS, Piece, carry_out, pieces_of
from experiments.large_space.report import REFERENCES, collect, compare, draw, markdown, summarise
from experiments.parts.command_line import check_positive, exit_status
from experiments.parts.processes import fresh_processes
from multinas_ray.storage import make_folder, write_atomic

TITLE = "Loss of four networks above the best there are, in percent"


def report(arguments: argparse.Namespace, console: Console) -> None:
    """Write the table and the picture of what is done, and print the table."""
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    methods, out = arguments.methods, arguments.out / arguments.evaluator
    rows = collect(arguments.evaluator, methods, seeds, arguments.out)
    if rows.empty:
        console.print("No seed is done by all methods yet.")
        return
    tables = [summarise(rows, methods)]
    tables += [compare(rows, methods, each) for each in REFERENCES if each in methods and len(methods) > 1]
    title = f"{TITLE}: {arguments.evaluator} evaluator"
    for table in tables:
        shown = Table(*table.columns, title=title, title_justify="left")
        for cells in table.itertuples(index=False):
            shown.add_row(*cells)
        console.print(shown)
    make_folder(out)
    write_atomic(out / "large_space.csv", rows.to_csv(index=False).encode())
    write_atomic(out / "large_space.md", markdown(tables, title).encode())
    draw(rows, methods, title, out / "large_space.png")
    console.print(f"table and picture: {out}/large_space.*", highlight=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.large_space",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, names = parser.add_argument, list(METHODS)
    add("--evaluator", choices=list(EVALUATORS), default="made-up", help="(default: %(default)s)")
    add("--out", metavar="DIR", type=Path, default=Path("runs/large_space"), help="(default: %(default)s)")
    add("--seeds", metavar="N", type=int, default=16, help="repetitions (default: %(default)s)")
    text = "seed of the first; settings were chosen on seeds from 100 (default: %(default)s)"
    add("--first-seed", metavar="N", type=int, default=0, help=text)
    add("--methods", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    add("--jobs", metavar="N", type=int, default=os.cpu_count() or 1, help="pieces at a time (default: %(default)s)")
    add("--report-only", action="store_true", help="report what is done, do no more")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    arguments = _parser().parse_args(argv)

    def run(console: Console) -> None:
        check_positive(arguments, ("seeds", "jobs"))
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        pieces = pieces_of(arguments.evaluator, arguments.methods, seeds)

        def show(num_done: int, last: Piece | None) -> None:
            console.print(f"{num_done} of {len(pieces)} pieces done{'' if last is None else f': {last}'}")

        if not arguments.report_only:
            os.environ["OMP_NUM_THREADS"] = "1"  # for the processes to come
            with fresh_processes(arguments.jobs) as pool:
                carry_out(pieces, arguments.out, pool, show)
        report(arguments, console)

    return exit_status(run)


if __name__ == "__main__":
    raise SystemExit(main())
