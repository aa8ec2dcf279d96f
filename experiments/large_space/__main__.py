"""Search on a large space with a fixed evaluator: the mobile space for CIFAR-10, 1e13 architectures.

K = 4 networks are wanted, each within a target: the 2, 20, 50 and 85 % quantiles of the FLOPs of uniformly drawn
architectures. Every method may evaluate 4,000 networks in all, those with a target at a time a quarter for each; a
network that was evaluated before is free. The answer for a target is the best evaluated network within it. Measured is
how far the answers' losses lie above the best there are, as a mean over the targets.

The evaluator "made-up" has losses exp(-gain), a gain being a sum over blocks and over pairs of neighbours that grows
less and less with the FLOPs; its best networks are known exactly, by dynamic programming. Each seed has other gains.
The evaluator "supernet" has the losses of subnets on 256 validation images of CIFAR-10 at 16x16, by a supernet of a
quarter of the width that is trained once for each seed, uniformly, with 1,560 steps; the best is there the best that
any method found.

Each method is also made with the same prior of untrained networks (docs/METHOD.md), which decides what is proposed
first and costs no evaluation: random networks come in its order, the best of ten times as many; the first generation of
evolution is chosen so; ours starts its distributions from it. On the made-up evaluator it is the depth alone.

Writes to a folder of the evaluator in --out: large_space.csv (a row for each method, seed and number of evaluations),
large_space.md (medians over the seeds with 95 % bootstrap intervals, and paired differences from evolution) and
large_space.png. Each piece of work is kept when it is done: the same command goes on after any end.
Needs pip install -e ".[compare]"; run it from the repository's folder, as python -m experiments.large_space.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import MinLen
from rich.console import Console
from rich.table import Table

from experiments.compare.images import prepare_images
from experiments.large_space.methods import DEFAULTS, METHODS
from experiments.large_space.pieces import EVALUATORS, Piece, carry_out, pieces_of
from experiments.large_space.report import REFERENCES, collect, compare, draw, markdown, summarise
from experiments.large_space.supernet import settings_of_images
from experiments.parts.command_line import images_folder, num_processes
from experiments.parts.processes import fresh_processes
from experiments.parts.settings import keep_command
from multinas_ray.commands.script import Script
from multinas_ray.settings import Flag, NonNegativeInt, OneOf, PositiveInt, checked
from multinas_ray.storage import GivenPath, make_folder, write_atomic

TITLE = "Loss of four networks above the best there are, in percent"


@checked
@dataclass(frozen=True, kw_only=True)
class LargeSpaceOptions:
    """What is compared, and with how much."""

    evaluator: Annotated[str, OneOf(EVALUATORS)] = "made-up"
    """What tells the losses."""
    out: Annotated[GivenPath, Flag(metavar="DIR")] = "runs/large_space"
    """Folder of the results."""
    seeds: PositiveInt = 16
    """Problems that each method searches."""
    first_seed: NonNegativeInt = 0
    """Seed of the first; settings were chosen on seeds from 100."""
    methods: Annotated[tuple[Annotated[str, OneOf(METHODS)], ...], MinLen(1), Flag(metavar="NAME")] = DEFAULTS
    """Methods that are compared."""
    images_folder: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder of CIFAR-10 for the evaluator "supernet"; None: cifar10 in $MULTINAS_DATA."""
    jobs: PositiveInt | None = None
    """Searches at once; None: as many as there are cores."""
    report_only: bool = False
    """Report what is done, and search no more."""

    @property
    def all_seeds(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)


def report(options: LargeSpaceOptions, console: Console) -> None:
    """Write the rows, the tables and the picture of what is done, and print the tables."""
    methods, out = options.methods, Path(options.out) / options.evaluator
    rows = collect(options.evaluator, methods, options.all_seeds, Path(options.out))
    if rows.empty:
        console.print("No seed is done by all methods yet.")
        return
    tables = [summarise(rows, methods)]
    tables += [compare(rows, methods, each) for each in REFERENCES if each in methods and len(methods) > 1]
    title = f"{TITLE}: {options.evaluator} evaluator"
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


def run(options: LargeSpaceOptions, console: Console) -> None:
    """Make the searches that are missing, then report all."""
    pieces, out = pieces_of(options.evaluator, options.methods, options.all_seeds), Path(options.out)

    def show(num_done: int, last: Piece | None) -> None:
        console.print(f"{num_done} of {len(pieces)} pieces done{'' if last is None else f': {last}'}")

    keep_command(options, out)
    if not options.report_only:
        if options.evaluator == "supernet":
            prepare_images(images_folder(options.images_folder, None), settings_of_images(), out)
        os.environ["OMP_NUM_THREADS"] = "1"  # for the processes to come: one thread each
        with fresh_processes(num_processes(options.jobs)) as pool:
            carry_out(pieces, out, pool, show)
    report(options, console)


LARGE_SPACE = Script(description=str(__doc__), settings=LargeSpaceOptions, program="python -m experiments.large_space")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    return LARGE_SPACE.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
