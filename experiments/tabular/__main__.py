"""Compares ways to search two exhaustively trained spaces, where the exact answer is known.

Each search may evaluate a number of architectures. After each evaluation it is measured by its share of the exact
front's hypervolume (reference point: the 90 % quantile of the error over the table, and the largest cost). Only
DISTINCT architectures count: for every method, asking for a known one again is free. A search that repeats itself ends
after asking for ten times its budget; Optuna's searches, which become slower with every request, end after twice
(NSGA-II) and half of it (TPE). A search that has ended keeps its last value.

It writes to --out: searches/ (a Parquet file per search, a row per evaluation), evaluations.parquet (all rows),
summary.parquet (medians and 90 % intervals over the seeds), comparison.png, and answers.png, which compares the K
answers with those of K separate ASNG runs. Searches that exist already are read; they are made again if the code or the
libraries on which they depend have changed. It needs pip install -e ".[compare]"; run it from the repository's folder,
as python -m experiments.tabular.

experiments/tabular/quick.yaml, given by --config, makes a comparison of a minute: 400 evaluations, 3 seeds, without
Optuna's slow TPE. --tune makes one search of each kind through real Ray Tune runs instead, a trial for each evaluation,
repeats included; its results are in tune/ below --out.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import pandas as pd
from annotated_types import MinLen
from rich.console import Console

from experiments.parts.command_line import data_folder, num_processes
from experiments.parts.rows import save_rows
from experiments.parts.settings import keep_command
from experiments.parts.tables import SOURCES, Table
from experiments.tabular.measures import Measures
from experiments.tabular.methods import METHODS
from experiments.tabular.plots import plot_answers, plot_curves
from experiments.tabular.report import goal_table, summarise, summary_table
from experiments.tabular.runs import Task
from experiments.tabular.searching import make_searches, make_tune_searches, table_of
from multinas_ray.commands.script import Script
from multinas_ray.errors import ConfigError
from multinas_ray.settings import Flag, OneOf, PositiveInt, checked
from multinas_ray.storage import GivenPath

FIRST_SEED = 1000
"""Settings are chosen on smaller seeds, and results are reported for seeds from this one on [ours]."""
TUNE_TRIALS = 400
"""Largest number of trials of a search through Ray Tune. Each takes tens of milliseconds, later ones longer."""
TUNE_METHODS = ("multinas", "multinas-reuse", "multinas-screened", "optuna-nsga2", "optuna-tpe", "random")


@checked
@dataclass(frozen=True, kw_only=True)
class TabularOptions:
    """What is compared, where, and with how much."""

    data: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder with the tables' Parquet files; None: $MULTINAS_DATA."""
    out: Annotated[GivenPath, Flag(metavar="DIR")] = "runs/tabular"
    """Folder of the results."""
    seeds: PositiveInt = 11
    """Searches of each kind."""
    evaluations: PositiveInt = 2000
    """Distinct architectures that a search may evaluate."""
    methods: Annotated[tuple[Annotated[str, OneOf(METHODS)], ...], MinLen(1), Flag(metavar="NAME")] = tuple(METHODS)
    """Methods that are compared."""
    tables: Annotated[tuple[Annotated[str, OneOf(SOURCES)], ...], MinLen(1), Flag(metavar="NAME")] = tuple(SOURCES)
    """Tables that are searched."""
    jobs: PositiveInt | None = None
    """Searches at once; None: as many as there are cores."""
    tune: bool = False
    """Make one search of each kind through Ray Tune, with 400 trials or fewer each."""

    def effective(self) -> "TabularOptions":
        """The options with those of --tune in place.

        Raises:
            ConfigError: None of the methods can run through Ray Tune.
        """
        if not self.tune:
            return self
        methods = tuple(name for name in self.methods if name in TUNE_METHODS)
        if not methods:
            raise ConfigError(f"--tune takes these methods: {', '.join(TUNE_METHODS)}")
        return replace(self, seeds=1, evaluations=min(self.evaluations, TUNE_TRIALS), methods=methods)


def report(searches: pd.DataFrame, tables: Sequence[Table], out: Path, console: Console) -> None:
    """Writes the rows, the summary and the pictures, and prints the tables."""
    summary = summarise(searches, tables)
    save_rows(searches, out / "evaluations.parquet")
    save_rows(summary, out / "summary.parquet")
    plot_curves(searches, tables, out / "comparison.png")
    if not searches["modes_share"].isna().all():  # through Ray Tune no modes are seen
        plot_answers(searches, tables, out / "answers.png")
    for table in tables:
        console.print(summary_table(summary, table, Measures(table).best_answers_share))
    console.print(goal_table(summary))
    console.print(f"rows, summary and pictures: {out}")


def run(given: TabularOptions, console: Console) -> None:
    """Make the searches that are missing, then report all.

    Raises:
        ConfigError: No folder with tables is named, or no method can run through Ray Tune.
        DataError: A table is missing or damaged.
    """
    options, out, data = given.effective(), Path(given.out), data_folder(given.data)
    tables = [table_of(name, data) for name in dict.fromkeys(options.tables)]
    tasks = [
        Task(table.name, method, FIRST_SEED + seed, options.evaluations, options.tune)
        for table in tables
        for method in dict.fromkeys(options.methods)
        for seed in range(options.seeds)
    ]
    keep_command(given, out)
    if options.tune:
        out = out / "tune"
        searches = make_tune_searches(tasks, data, out, console)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"  # for the processes to come: one thread each
        searches = make_searches(tasks, data, out, num_processes(options.jobs), console)
    report(searches, tables, out, console)


TABULAR = Script(description=str(__doc__), settings=TabularOptions, program="python -m experiments.tabular")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    return TABULAR.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
