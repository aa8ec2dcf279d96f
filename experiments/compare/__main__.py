"""Compares ways to find K networks with one budget, in NAS-Bench-Macro's space on CIFAR-10 at a reduced size.

  ours           one search of K = 4 targets in FLOPs; the last 40 % of the weight steps draw from its distributions
  ours-first     the same on a supernet trained on uniform subnets first, by all weight steps
  separate       4 separate searches of one target each, each with a quarter of the budget
  spos           the same uniform supernet, then evolution for each target (Guo et al., ECCV 2020)
  random         the same supernet, then the best of random architectures of 90 to 100 % of each target's FLOPs
  separate-full  4 separate searches, each with the whole budget: 4 times the cost (only where it is named)

The budget is a number of training steps of one subnet and a number of evaluations of one subnet on one batch of
validation images. It is the same for all methods (if a target has fewer random architectures than evaluations, random
evaluates all of them); ours-first, spos and random share one supernet. At the end every method scores 8 candidates for
each target on all validation images, with batch-normalisation statistics of their own (methods that choose from a
search's record score a few more, its other modes), and chooses in the same way as a search does at its end.

There are two measures by the table's full trainings. One is Kendall's tau between the supernet's losses and the true
errors of random architectures (the mean over the supernets if there are several). The other is the hypervolume of the
true errors and FLOPs of the K networks (reference point: the 90 % quantile of the table's errors, and the largest
FLOPs), as a share of the hypervolume of the truly best within the targets.

It writes to --out: compare.parquet (a row for each method and seed), compare.md, compare.csv and compare.png. Each
piece of work is kept when it is done, and searches resume, so the same command continues after any interruption. It
needs pip install -e ".[compare]"; run it from the repository's folder, as python -m experiments.compare.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

from annotated_types import MinLen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.compare.evolution import Architecture
from experiments.compare.images import prepare_images
from experiments.compare.methods import Method, methods_of
from experiments.compare.pieces import Piece, carry_out, pieces_of, runner
from experiments.compare.report import Judge, collect, draw, markdown, rich_table, summarise
from experiments.compare.scoring import random_architectures
from experiments.compare.settings import FIXED_SETTINGS, Settings, config_of
from experiments.compare.truth import load_truth
from experiments.parts.command_line import data_folder, images_folder, num_processes
from experiments.parts.processes import fresh_processes
from experiments.parts.rows import save_rows
from experiments.parts.settings import keep_command, keep_settings
from multinas_ray.commands.script import Script
from multinas_ray.settings import Flag, OneOf, PositiveInt, checked
from multinas_ray.storage import write_atomic

DEFAULT_METHODS = ("ours", "ours-first", "separate", "spos", "random")
METHODS = tuple(methods_of(Settings().num_targets))


@checked
@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What is compared, where, and with how much."""

    data: Annotated[str | None, Flag(metavar="DIR")] = None
    """Folder with nasbench_macro.parquet; None: $MULTINAS_DATA."""
    images_folder: Annotated[str | None, Flag(metavar="DIR")] = None
    """Folder of CIFAR-10, torchvision's or train.parquet and test.parquet; None: cifar10 in the folder of the table."""
    out: Annotated[str, Flag(metavar="DIR")] = "runs/compare"
    """Folder of the results."""
    seeds: PositiveInt = 3
    """Repetitions, of the seeds 0, 1 and so on."""
    methods: Annotated[tuple[Annotated[str, OneOf(METHODS)], ...], MinLen(1), Flag(metavar="NAME")] = DEFAULT_METHODS
    """Methods that are compared."""
    jobs: PositiveInt | None = None
    """Pieces of work at a time; None: as many as there are cores."""
    report_only: bool = False
    """Report what is done, and do no more."""
    comparison: Settings = field(default_factory=Settings)
    """What decides the results."""

    @property
    def folder(self) -> Path:
        """Of the results."""
        return Path(self.out)


def compare(options: CompareOptions, methods: dict[str, Method], console: Console) -> None:
    """Do what is not done."""
    settings, out, seeds = options.comparison, options.folder, range(options.seeds)
    jobs, budget = num_processes(options.jobs), settings.budget
    console.print(
        f"Budget of each method: {budget.weight_steps:,} weight steps of one subnet, {budget.evaluations:,} evaluations"
    )
    prepare_images(images_folder(options.images_folder, options.data), settings, out)
    pieces = pieces_of({name: method.supernets for name, method in methods.items()}, seeds)
    num_threads = max(1, (os.cpu_count() or 1) // jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    os.environ["OMP_NUM_THREADS"] = str(num_threads)  # for the processes to come
    with Progress(*columns, console=console) as progress, fresh_processes(jobs) as pool:
        bar = progress.add_task("", total=len(pieces))

        def show(num_done: int, running: Sequence[Piece]) -> None:
            text = ", ".join(map(str, running)) or "done"
            progress.update(bar, completed=num_done, description=text)
            if not console.is_terminal:
                console.print(f"{num_done} of {len(pieces)} pieces are done; running: {text}")

        carry_out(pieces, out, runner(settings, out, num_threads), pool, jobs, show)


def report(
    methods: dict[str, Method],
    seeds: Sequence[int],
    judge: Judge,
    ranked: Sequence[Architecture],
    out: Path,
    console: Console,
) -> None:
    """Write the rows, the table and the picture of all finished work, and print the table."""
    rows = collect(methods, seeds, judge, out)
    if rows.empty:
        console.print("No method has found its networks yet.")
        return
    settings, tau_of_size = judge.settings, judge.tau_of_size(ranked)
    summary = summarise(rows, methods, judge, tau_of_size)
    title = (
        f"{settings.num_targets} networks within {', '.join(f'{target / 1e6:.2f}' for target in settings.targets)} M "
        f"FLOPs; {settings.images:,} images, {settings.epochs} epochs"
    )
    caption = (
        f"Medians over the seeds (least to most). Tau: {len(ranked)} random architectures. Hypervolume: true errors "
        f"and FLOPs, reference ({judge.truth.reference[0]:.2f} %, the largest), as a share of the best "
        "within the targets."
    )
    console.print(rich_table(summary, title, caption))
    save_rows(rows, out / "compare.parquet")
    write_atomic(out / "compare.csv", summary.to_csv(index=False).encode())
    write_atomic(out / "compare.md", markdown(summary, title, caption).encode())
    draw(rows, methods, judge, tau_of_size, out / "compare.png")
    console.print(f"rows, table and picture: {out}/compare.*", highlight=False)


def run(options: CompareOptions, console: Console) -> None:
    """Compare, and report what is done.

    Raises:
        ConfigError: No folder with the table is named, or the results' folder holds those of other settings.
        DataError: The table or the images are missing or damaged.
    """
    settings, out = options.comparison, options.folder
    known = methods_of(settings.num_targets)
    methods = {name: known[name] for name in dict.fromkeys(options.methods)}
    judge = Judge(load_truth(data_folder(options.data)), settings)
    keep_settings({**asdict(settings), **FIXED_SETTINGS}, out)
    keep_command(options, out)
    if not options.report_only:
        compare(options, methods, console)
    ranked = random_architectures(config_of("ours", 0, settings, out, 1), settings.ranked)
    report(methods, range(options.seeds), judge, ranked, out, console)


COMPARE = Script(description=str(__doc__), settings=CompareOptions, program="python -m experiments.compare")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    return COMPARE.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
