"""The comparison: searches that are missing are made, and all is reported."""

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console

from experiments.parts.command_line import data_folder, num_processes
from experiments.parts.rows import save_rows
from experiments.parts.settings import keep_command
from experiments.parts.tables import Table
from experiments.tabular.measures import Measures
from experiments.tabular.options import TabularOptions
from experiments.tabular.plots import plot_answers, plot_curves
from experiments.tabular.report import goal_table, summarise, summary_table
from experiments.tabular.runs import Task
from experiments.tabular.searching import make_searches, make_tune_searches, table_of

FIRST_SEED = 1000
"""Settings are chosen on smaller seeds, and results are reported for seeds from this one on [ours]."""


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
