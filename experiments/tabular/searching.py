"""Makes the searches of a comparison, in separate processes or through Ray Tune."""

from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from functools import cache
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from experiments.parts.processes import fresh_processes
from experiments.parts.tables import Table, load_table
from experiments.tabular.methods import METHODS
from experiments.tabular.runs import Task, run_task


@cache
def table_of(name: str, data: Path) -> Table:
    """A table of a folder, read once."""
    return load_table(name, data)


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
    from experiments.tabular.tune_runs import local_ray, run_tune_task  # loads Ray

    missing = [task for task in tasks if _read(task, data, out) is None]
    console.print(f"{len(tasks)} searches through Ray Tune, {len(missing)} to make; each takes a minute or more")
    if missing:
        with local_ray():
            for number, task in enumerate(missing, start=1):
                console.print(f"{number} of {len(missing)}: {METHODS[task.method].title} on {task.table}")
                run_tune_task(task, table_of(task.table, data), out)
    return pd.concat([_read(task, data, out) for task in tasks], ignore_index=True)


def _run(tasks: Sequence[Task], data: Path, out: Path, jobs: int) -> Iterator[Task]:
    """Yields each task when it is done; the longest are begun first."""
    ordered = sorted(tasks, key=_seconds, reverse=True)
    if jobs == 1:
        for task in ordered:
            run_task(task, table_of(task.table, data), out)
            yield task
        return
    with fresh_processes(min(jobs, max(len(tasks), 1))) as pool:
        futures = {pool.submit(_run_in_process, task, data, out): task for task in ordered}
        for future in as_completed(futures):
            future.result()
            yield futures[future]


def _run_in_process(task: Task, data: Path, out: Path) -> None:
    run_task(task, table_of(task.table, data), out)


def _read(task: Task, data: Path, out: Path) -> pd.DataFrame | None:
    return task.load(table_of(task.table, data), out)


def _seconds(task: Task) -> float:
    return METHODS[task.method].seconds * task.evaluations / 1000
