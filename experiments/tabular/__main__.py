"""Compares ways to search two exhaustively trained spaces, where the exact answer is known.

Each search may evaluate a number of architectures, and is measured after each by how much of the exact front's
hypervolume it has found (reference point: the 90 % quantile of the error over the table, the largest cost). Only
DISTINCT architectures count: asking for a known one again is free, for every method alike. A search that repeats
itself ends after asking for ten times its budget; Optuna's, which take longer the more they asked for, after twice
(NSGA-II) and half of it (TPE). A search that ended keeps what it has.

Writes to --out: searches/ (a Parquet file per search, a row per evaluation), evaluations.parquet (all rows),
summary.parquet (medians and 90 % intervals over the seeds), comparison.png, and answers.png: the K answers against
those of K separate ASNG runs. A search that is there already is read, and made again if the code or the libraries that
it rests on have changed since. Needs pip install -e ".[compare]"; run it from the repository's
folder, as python -m experiments.tabular.

--tune makes one search of each kind through real Ray Tune runs instead, a trial for each evaluation, repeats
included; its results are in tune/ below --out.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from experiments.parts.command_line import check_positive, data_folder, exit_status
from experiments.parts.rows import save_rows
from experiments.parts.tables import SOURCES, Table
from experiments.tabular.measures import Measures
from experiments.tabular.methods import METHODS
from experiments.tabular.plots import plot_answers, plot_curves
from experiments.tabular.report import goal_table, summarise, summary_table
from experiments.tabular.runs import Task
from experiments.tabular.searching import make_searches, make_tune_searches, table_of
from multinas_ray.errors import ConfigError

FIRST_SEED = 1000
"""Settings are chosen on smaller seeds and reported on these [ours]."""
TUNE_TRIALS = 400
"""Trials of a search through Ray Tune at most: each takes tens of milliseconds, the more the later."""
TUNE_METHODS = ("multinas", "multinas-reuse", "multinas-screened", "optuna-nsga2", "optuna-tpe", "random")
QUICK = {"evaluations": 400, "seeds": 3, "methods": [name for name in METHODS if name != "optuna-tpe"]}


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.tabular",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, help="folder with the tables' Parquet files (default: $MULTINAS_DATA)")
    add("--out", type=Path, default=Path("runs/tabular"), help="folder for the results (default: %(default)s)")
    add("--seeds", type=int, default=11, help="searches of each kind (default: %(default)s)")
    add("--evaluations", type=int, default=2000, help="distinct architectures a search (default: %(default)s)")
    add("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="NAME", help=f"of {', '.join(METHODS)}")
    add("--tables", nargs="+", choices=SOURCES, default=list(SOURCES), metavar="NAME", help=f"of {', '.join(SOURCES)}")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="searches at once (default: the cores, %(default)s)")
    add("--tune", action="store_true", help=f"one search of each kind through Ray Tune, {TUNE_TRIALS} trials each")
    add("--quick", action="store_true", help="400 evaluations, 3 seeds, without Optuna's slow TPE: a minute")
    return parser


def _check(arguments: argparse.Namespace) -> None:
    """Fills in what depends on the surroundings, and checks.

    Raises:
        ConfigError: A number is not positive, or no folder with tables is named.
    """
    if arguments.tune:
        arguments.seeds, arguments.evaluations = 1, min(arguments.evaluations, TUNE_TRIALS)
        arguments.methods = [name for name in arguments.methods if name in TUNE_METHODS]
        if not arguments.methods:
            raise ConfigError(f"--tune knows these methods: {', '.join(TUNE_METHODS)}")
    check_positive(arguments, ("seeds", "evaluations", "jobs"))
    arguments.data = data_folder(arguments.data)


def _compare(arguments: argparse.Namespace, console: Console) -> None:
    """Makes the searches that are missing, then reports all."""
    tables = [table_of(name, arguments.data) for name in dict.fromkeys(arguments.tables)]
    tasks = [
        Task(table.name, method, FIRST_SEED + seed, arguments.evaluations, arguments.tune)
        for table in tables
        for method in dict.fromkeys(arguments.methods)
        for seed in range(arguments.seeds)
    ]
    if arguments.tune:
        out = arguments.out / "tune"
        searches = make_tune_searches(tasks, arguments.data, out, console)
    else:
        out = arguments.out
        searches = make_searches(tasks, arguments.data, out, arguments.jobs, console)
    report(searches, tables, out, console)


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.quick:
        parser.set_defaults(**QUICK)  # what was given by hand stays
        arguments = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes to come: one thread each

    def run(console: Console) -> None:
        _check(arguments)
        _compare(arguments, console)

    return exit_status(run)


if __name__ == "__main__":
    raise SystemExit(main())
