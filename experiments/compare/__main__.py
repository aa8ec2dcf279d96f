"""Compares ways to find K networks with one budget: NAS-Bench-Macro's space, CIFAR-10 at a reduced size.

  deepest     nothing is trained: the network of most blocks in the last tenth of each target's FLOPs (its slice)
  prior       nothing is trained: the network of the slice that the prior of untrained networks ranks first
  random      a supernet trained on uniform subnets (strictly fair, as all warm-ups), and random networks of the slices
  spos        the same supernet, then evolution for each target (Guo et al., ECCV 2020)
  ours        one search of K targets in FLOPs; the last 40 % of the weight steps draw from its distributions
  ours-first  the same on the uniform supernet, whose weights are trained first
  separate    K separate searches of one target each, each with a K-th of the budget
  full        K separate searches, each with the whole budget: K times the cost (only where it is named)

All but the first two come with the prior beside the losses too, such as random-prior. The budget is a number of
training steps of one subnet and of evaluations of one subnet on one batch of validation images, the same for all;
random needs no evaluations before the last choice and has so many more networks in its pool. The last choice is that of
the package for every method: successive halving of a pool of about 300 networks for each target.

Two measures, by the table's full trainings: how well all networks of a slice are ranked (Kendall's tau, and the regret
of the ten ranked first), and the hypervolume of the K networks' true errors and FLOPs, as a share of what the truly
best within the targets have.

Writes to --out: compare.parquet (a row for each method and seed), rankings.parquet, compare.md, compare.csv,
compare.png, and costs.png: the hypervolume against the training, also of the folders named by --beside. Each piece of
work is kept when it is done, and searches resume where they were: the same command resumes after any end. What
compare.parquet, rankings.parquet and settings.json tell is not done again either: a copy of these three goes on
elsewhere. Needs pip install -e ".[compare]"; run it from the repository's folder, as
python -m experiments.compare.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd
from annotated_types import MinLen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.compare.images import prepare_images
from experiments.compare.judging import Judge
from experiments.compare.kept import Rows
from experiments.compare.methods import Method, methods_of
from experiments.compare.picture import draw, draw_costs
from experiments.compare.pieces import Piece, carry_out, pieces_of, runner
from experiments.compare.report import (
    collect,
    collect_rankings,
    markdown,
    rich_table,
    summarise,
    summarise_rankings,
    titles,
)
from experiments.compare.settings import FIXED_SETTINGS, Settings
from experiments.compare.truth import load_truth
from experiments.parts.command_line import data_folder, images_folder, num_processes, threads_of_each
from experiments.parts.processes import fresh_processes
from experiments.parts.settings import keep_command, keep_settings
from multinas_ray.commands.script import Script
from multinas_ray.settings import Flag, NonNegativeInt, OneOf, PositiveInt, checked
from multinas_ray.storage import GivenPath, write_atomic

METHODS = tuple(methods_of(Settings().num_targets))
DEFAULT_METHODS = tuple(name for name in METHODS if not name.startswith("full"))


@checked
@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What is compared, where, and with how much."""

    data: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder with nasbench_macro.parquet; None: $MULTINAS_DATA."""
    images_folder: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder of CIFAR-10, torchvision's or train.parquet and test.parquet; None: cifar10 in the folder of the table."""
    out: Annotated[GivenPath, Flag(metavar="DIR")] = "runs/compare"
    """Folder of the results."""
    seeds: PositiveInt = 3
    """Repetitions, of seeds that follow each other."""
    first_seed: NonNegativeInt = 0
    """Seed of the first repetition. Settings are chosen on seeds from 100 on, which are not reported."""
    methods: Annotated[tuple[Annotated[str, OneOf(METHODS)], ...], MinLen(1), Flag(metavar="NAME")] = DEFAULT_METHODS
    """Methods that are compared."""
    jobs: PositiveInt | None = None
    """Pieces of work at a time; None: as many as there are cores."""
    beside: Annotated[tuple[GivenPath, ...], Flag(metavar="DIR")] = ()
    """Results of other budgets, which the picture of the costs shows too."""
    report_only: bool = False
    """Report what is done, and do no more."""
    comparison: Settings = field(default_factory=Settings)
    """What decides the results."""

    @property
    def all_seeds(self) -> range:
        """The seed of each repetition."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def folder(self) -> Path:
        """Of the results."""
        return Path(self.out)


def compare(options: CompareOptions, methods: dict[str, Method], rows: Rows, console: Console) -> None:
    """Do what is not done and whose rows are not known."""
    settings, out, seeds = options.comparison, options.folder, options.all_seeds
    jobs, budget = num_processes(options.jobs), settings.budget
    console.print(
        f"Budget of each method: {budget.weight_steps:,} weight steps of one subnet, {budget.evaluations:,} evaluations"
    )
    prepare_images(images_folder(options.images_folder, options.data), settings, out)
    pieces, known = pieces_of(methods, seeds), methods_of(settings.num_targets)
    num_threads = threads_of_each(jobs)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    os.environ["OMP_NUM_THREADS"] = str(num_threads)  # for the processes to come
    with Progress(*columns, console=console) as progress, fresh_processes(jobs) as pool:
        bar = progress.add_task("", total=len(pieces))

        def show(num_done: int, running: Sequence[Piece]) -> None:
            text = ", ".join(map(str, running)) or "done"
            progress.update(bar, completed=num_done, description=text)
            if not console.is_terminal:
                console.print(f"{num_done} of {len(pieces)} pieces are done; running: {text}")

        carry_out(pieces, out, runner(settings, out, num_threads), pool, jobs, show, rows.pieces(known))


def report(asked: Rows, methods: dict[str, Method], judge: Judge, out: Path, console: Console) -> None:
    """Write and print the tables and the picture of some rows."""
    networks_table, rankings_table = summarise(asked.networks, methods, judge), summarise_rankings(asked.rankings)
    title, networks_caption, rankings_caption = titles(judge.settings, judge)
    console.print(rich_table(networks_table, title, networks_caption))
    console.print(rich_table(rankings_table, "Rankings", rankings_caption))
    write_atomic(out / "compare.csv", networks_table.to_csv(index=False).encode())
    text = (
        markdown(networks_table, title, networks_caption)
        + "\n"
        + markdown(rankings_table, "Rankings", rankings_caption)
    )
    write_atomic(out / "compare.md", text.encode())
    draw(asked.networks, asked.rankings, methods, judge, out / "compare.png")
    console.print(f"rows, tables and picture: {out}/compare.*", highlight=False)


def run(options: CompareOptions, console: Console) -> None:
    """Compare, and report what is done.

    Raises:
        ConfigError: No folder with the table is named, or the results' folder holds those of other settings.
        DataError: The table or the images are missing or damaged.
    """
    settings, out, seeds = options.comparison, options.folder, options.all_seeds
    known = methods_of(settings.num_targets)
    methods = {name: known[name] for name in dict.fromkeys(options.methods)}
    judge = Judge(load_truth(data_folder(options.data)), settings)
    keep_settings({**asdict(settings), **FIXED_SETTINGS}, out)
    keep_command(options, out)
    rows = Rows.load(out)
    if not options.report_only:
        compare(options, methods, rows, console)
    rows = rows.joined(Rows(collect(known, seeds, judge, out), collect_rankings(known, seeds, judge, out)))
    rows.save(out)
    asked = rows.of(methods, seeds)
    if asked.networks.empty:
        console.print("No method has found its networks yet.")
        return
    report(asked, methods, judge, out, console)
    others = [Rows.load(Path(each)).of(methods, seeds).networks for each in options.beside]
    draw_costs(pd.concat([asked.networks, *others]), methods, out / "costs.png")


COMPARE = Script(description=str(__doc__), settings=CompareOptions, program="python -m experiments.compare")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    return COMPARE.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
