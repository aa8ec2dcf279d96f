"""Compares ways to search two exhaustively trained spaces, where the exact answer is known.

Each search may evaluate a number of architectures, and is measured after each by how much of the exact front's
hypervolume it has found (reference point: the 90 % quantile of the error over the table, the largest cost). Only
DISTINCT architectures count: asking for a known one again is free, for every method alike. A search that repeats
itself ends after asking for ten times its budget; Optuna's, which take longer the more they asked for, after twice
(NSGA-II) and half of it (TPE). A search that ended keeps what it has.

Writes to --out: searches/ (a Parquet file per search, a row per evaluation), evaluations.parquet (all rows),
summary.parquet (medians and 90 % intervals over the seeds), comparison.png, and answers.png: the K answers against
those of K separate ASNG runs. A search that is there already is read, and made again if the code or the libraries that
it rests on have changed since. Needs pip install -e ".[compare]".

--tune makes one search of each kind through real Ray Tune runs instead, a trial for each evaluation, repeats
included; its results are in tune/ below --out.
"""

import argparse
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path

import pandas as pd
from comparison.measures import Measures
from comparison.methods import METHODS
from comparison.plots import plot_answers, plot_curves
from comparison.report import goal_table, summarise, summary_table
from comparison.runs import Task, load_frame, run_task, save_frame
from comparison.tables import SOURCES, Table, load_table
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from multinas_ray.errors import ConfigError, MultiNASError

FIRST_SEED = 1000
"""Settings are chosen on smaller seeds and reported on these [ours]."""
TUNE_TRIALS = 400
"""Trials of a search through Ray Tune at most: each takes tens of milliseconds, the more the later."""
TUNE_METHODS = ("multinas", "multinas-reuse", "multinas-screened", "optuna-nsga2", "optuna-tpe", "random")
QUICK = {"evaluations": 400, "seeds": 3, "methods": [name for name in METHODS if name != "optuna-tpe"]}


def make_searches(tasks: Sequence[Task], data: Path, out: Path, jobs: int, console: Console) -> pd.DataFrame:
    """Makes the searches that are missing, `jobs` at once, and returns the rows of all."""
    missing = [task for task in tasks if _read(task, data, out) is None]
    console.print(f"{len(tasks)} searches: {len(tasks) - len(missing)} read from {out}, {len(missing)} to make")
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=console, speed_estimate_period=600) as progress:
        bar = progress.add_task("searches", total=sum(_seconds(task) for task in missing))
        for number, task in enumerate(_run(missing, data, out, jobs), start=1):
            progress.update(bar, advance=_seconds(task), description=f"{number} of {len(missing)}")
    return pd.concat([_read(task, data, out) for task in tasks], ignore_index=True)


def make_tune_searches(tasks: Sequence[Task], data: Path, out: Path, console: Console) -> pd.DataFrame:
    """Makes the searches that are missing through Ray Tune, one after the other, and returns the rows of all."""
    from comparison.tune_runs import local_ray, run_tune_task  # loads Ray

    missing = [task for task in tasks if _read(task, data, out) is None]
    console.print(f"{len(tasks)} searches through Ray Tune, {len(missing)} to make; each takes a minute or more")
    if missing:
        with local_ray():
            for number, task in enumerate(missing, start=1):
                console.print(f"{number} of {len(missing)}: {METHODS[task.method].title} on {task.table}")
                run_tune_task(task, _table(task.table, data), out)
    return pd.concat([_read(task, data, out) for task in tasks], ignore_index=True)


def report(searches: pd.DataFrame, tables: Sequence[Table], out: Path, console: Console) -> None:
    """Writes the rows, the summary and the pictures, and prints the tables."""
    summary = summarise(searches, tables)
    save_frame(searches, out / "evaluations.parquet", "")
    save_frame(summary, out / "summary.parquet", "")
    plot_curves(searches, tables, out / "comparison.png")
    if not searches["modes_share"].isna().all():  # through Ray Tune no modes are seen
        plot_answers(searches, tables, out / "answers.png")
    for table in tables:
        console.print(summary_table(summary, table, Measures(table).best_answers_share))
    console.print(goal_table(summary))
    console.print(f"rows, summary and pictures: {out}")


def _run(tasks: Sequence[Task], data: Path, out: Path, jobs: int) -> Iterator[Task]:
    """Yields each task when it is done; the longest are begun first."""
    ordered = sorted(tasks, key=_seconds, reverse=True)
    if jobs == 1:
        for task in ordered:
            run_task(task, _table(task.table, data), out)
            yield task
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, max(len(tasks), 1)), mp_context=context) as pool:
        futures = {pool.submit(_run_in_process, task, data, out): task for task in ordered}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _run_in_process(task: Task, data: Path, out: Path) -> None:
    run_task(task, _table(task.table, data), out)


@cache
def _table(name: str, data: Path) -> Table:
    return load_table(name, data)


def _read(task: Task, data: Path, out: Path) -> pd.DataFrame | None:
    return load_frame(task.path(out), task.settings(_table(task.table, data)))


def _seconds(task: Task) -> float:
    return METHODS[task.method].seconds * task.evaluations / 1000


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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


def _checked(arguments: argparse.Namespace) -> argparse.Namespace:
    """Fills in what depends on the surroundings, and checks.

    Raises:
        ConfigError: A number is not positive, or no folder with tables is named.
    """
    if arguments.tune:
        arguments.seeds, arguments.evaluations = 1, min(arguments.evaluations, TUNE_TRIALS)
        arguments.methods = [name for name in arguments.methods if name in TUNE_METHODS]
        if not arguments.methods:
            raise ConfigError(f"--tune knows these methods: {', '.join(TUNE_METHODS)}")
    for name in ("seeds", "evaluations", "jobs"):
        if vars(arguments)[name] < 1:
            raise ConfigError(f"--{name} must be at least 1, got {vars(arguments)[name]}")
    if arguments.data is None:
        if not os.environ.get("MULTINAS_DATA"):
            raise ConfigError("the tables' folder is not known: give --data DIR or set MULTINAS_DATA")
        arguments.data = Path(os.environ["MULTINAS_DATA"])
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.quick:
        parser.set_defaults(**QUICK)  # what was given by hand stays
        arguments = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the processes to come: one thread each
    console = Console()
    try:
        arguments = _checked(arguments)
        tables = [_table(name, arguments.data) for name in dict.fromkeys(arguments.tables)]
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
    except (MultiNASError, OSError, ImportError) as error:
        console.print(f"[red]error:[/red] {error}", soft_wrap=True, highlight=False)
        return 2
    except KeyboardInterrupt:
        console.print("stopped; finished searches are kept, run the same command to go on")
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
