"""Measures what a one-shot search costs its driver, and how long a large record takes to be read.

First the rounds of the ImageNet search run without Ray and with made-up losses: draws, updates, record, curves and
progress. The processor time of a round is printed after so many rounds; in an object store (`--storage
s3://bucket/folder`) it includes the uploads. Then rows are appended to a single table. Then a record of many
evaluations is made, and each of its readers runs in a process of its own. Its evaluations are drawn uniformly, so that
nearly all architectures differ, and its distributions stay as they are at the start.
"""

import dataclasses
import io
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from experiments.imagenet import ImageNetOptions, imagenet_config
from multinas_ray.commands.script import Script
from multinas_ray.core import Optimizer, Proposals
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.oneshot.made_up_rounds import MadeUpRounds
from multinas_ray.oneshot.schedule import FinishedRound
from multinas_ray.oneshot.start import new_description
from multinas_ray.oneshot.views import Curves, ProgressView
from multinas_ray.report import write_report
from multinas_ray.runs import (
    Results,
    RunRecord,
    RunSession,
    load_run,
    make_recorded_optimizer,
    resume_run,
    write_config,
)
from multinas_ray.selection.config import CANDIDATES_PER_NETWORK, SLICE_SHARE
from multinas_ray.selection.goals import goals_of_run
from multinas_ray.selection.outcome import SearchOutcome
from multinas_ray.selection.pool import candidates_for
from multinas_ray.settings import NonNegativeInt, PositiveInt, checked
from multinas_ray.storage import GivenPath, TableWriter

ROWS_AT_ONCE = 4096
QUIET = Console(file=io.StringIO())


@checked
@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordOptions:
    """What is measured, and when."""

    after: tuple[NonNegativeInt, ...] = (0, 1_000, 10_000)
    """Rounds before each timing."""
    window: PositiveInt = 200
    """Rounds that are timed at each point."""
    evaluations: NonNegativeInt = 2_300_000
    """Rows of the large record; 0: none is made."""
    storage: GivenPath | None = None
    """Folder of both records; None: a temporary one."""


def search_config(storage: str, rounds: int) -> OneShotSearchConfig:
    """The ImageNet search with a short warm-up."""
    config = imagenet_config(ImageNetOptions())
    return dataclasses.replace(config, storage_path=storage, warmup_rounds=10, search_rounds=rounds)


def time_rounds(options: RecordOptions, storage: str) -> list[tuple[int, float, float]]:
    """Rounds before, processor ms and wall ms of a round; that of all threads of this process."""
    config = search_config(storage, max(options.after) + len(options.after) * options.window)
    view = ProgressView(config.plan, 0, config.complexity, config.complexity_scale, QUIET)
    curves = Curves(config.curves_path, config.plan)
    curves.open()

    def observe(finished: FinishedRound, optimizer: Optimizer) -> None:
        curves.show(finished, optimizer.diagnostics)
        view.show(finished, optimizer.diagnostics)

    rounds = MadeUpRounds(config, observe)
    found, done = [], 0
    for after in options.after:
        for _ in track(range(10 + after - done), description=f"to {after:,} rounds", transient=True):
            rounds.one()
        start = time.process_time(), time.perf_counter()
        for _ in range(options.window):
            rounds.one()
        processor_seconds, wall_seconds = time.process_time() - start[0], time.perf_counter() - start[1]
        found.append((after, 1000 * processor_seconds / options.window, 1000 * wall_seconds / options.window))
        done = 10 + after + options.window
    rounds.record.close()
    curves.close()
    return found


def time_appends(options: RecordOptions, folder: str) -> list[float]:
    """Wall ms of each of as many appends of 16 rows to a table as rounds are timed."""
    schema = pa.schema([("id", pa.int32()), ("value", pa.float64()), ("choices", pa.list_(pa.int16()))])
    writer, found = TableWriter(folder, schema, {}), []
    for turn in range(options.window):
        columns = {"id": np.arange(16), "value": np.full(16, float(turn)), "choices": np.zeros((16, 21), np.int16)}
        start = time.perf_counter()
        writer.append(columns)
        found.append(1000 * (time.perf_counter() - start))
    return found


class Unmoved:
    """Stands for an optimiser of which each update leaves the distributions as they are."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.num_distributions, self.layout, self.probs = (
            optimizer.num_distributions,
            optimizer.layout,
            optimizer.probs,
        )
        self._diagnostics, self.num_updates = optimizer.diagnostics(), 0
        self._state, self._samples = optimizer.state_dict(), optimizer.samples_per_update

    def diagnostics(self) -> dict[str, Any]:
        """Those of the start."""
        return self._diagnostics

    def state_dict(self) -> dict[str, Any]:
        """The state at the start, after as many results as there are."""
        told = self.num_updates * self._samples
        counters = {"next_id": told, "num_ignored": 0, "num_updates": self.num_updates, "num_told": told}
        return {**self._state, "counters": counters, "settled": {**self._state["settled"], "watermark": told}}


def make_large_record(config: OneShotSearchConfig, evaluations: int) -> None:
    """Write a record of so many evaluations with its rounds and distributions."""
    description = new_description(config, QUIET)
    write_config(config.run_path, description)
    record, rng = RunRecord(RunSession.begin(config.run_path), description), np.random.default_rng(0)
    unmoved, size = (
        Unmoved(make_recorded_optimizer(config.run_path, description)),
        config.optimizer_settings.update_size,
    )
    for start in track(range(0, evaluations, ROWS_AT_ONCE), description="writing the record", transient=True):
        ids = np.arange(start, min(start + ROWS_AT_ONCE, evaluations))
        record.append(_results(config, ids, rng), sync=False)
        for number in range(ids[0] // size, (ids[-1] + 1) // size):
            unmoved.num_updates = number + 1
            record.note_update(unmoved, number)  # type: ignore[arg-type]  # it has all that is asked of it
            record.append_round(_figures(number, size))
    record.save(unmoved, next_round=evaluations // size)  # type: ignore[arg-type]  # as above
    record.close()


def _results(config: OneShotSearchConfig, ids: NDArray[np.int64], rng: np.random.Generator) -> Results:
    architectures, size = config.space.search_space.random(len(ids), rng), config.optimizer_settings.update_size
    costs = {name: cost(architectures) for name, cost in config.costs.items()}
    draws = Proposals(
        architectures=architectures,
        log_q=np.full(len(ids), -40.0),
        sources=ids % config.num_distributions,
        ids=ids,
        drawn_at=ids // size,
    )
    return Results.of_checked(
        ids=ids.tolist(),
        architectures=architectures.tolist(),
        draws=draws,
        trial_id="trial",
        losses=rng.normal(3.0, 0.5, len(ids)).tolist(),
        complexities=(costs[config.complexity] / config.complexity_scale).tolist(),
        costs={name: values.tolist() for name, values in costs.items()},
        accuracies=rng.random(len(ids)).tolist(),
    )


def _figures(number: int, size: int) -> dict[str, Any]:
    times = {"train_loss": 3.0, "compute_seconds": 0.1, "reduced_bytes": 0, "saved_bytes": 0}
    return {"round": number, "block": number // 16, "trial_id": "trial", "num_evaluations": size, **times}


def _report(path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_report(path, output=Path(folder, "report.html"))


def _candidates(path: str) -> None:
    """What a choice reads and collects before it evaluates anything."""
    run, config = load_run(path), search_config("runs", 1)
    outcome = SearchOutcome.of(run, config.space.search_space, config.costs, config.space.equivalence)
    candidates_for(outcome, goals_of_run(run), CANDIDATES_PER_NETWORK, SLICE_SHARE, np.random.default_rng(0))


def _resume(path: str) -> None:
    resume_run(RunSession.begin(path))


READERS: dict[str, Callable[[str], object]] = {
    "load_run": load_run,
    "report": _report,
    "candidates of a choice": _candidates,
    "resume": _resume,
}


def measure_reader(name: str, path: str) -> tuple[float, float, float]:
    """Wall and processor seconds of one reader, and the most memory of this process in GiB."""
    start = time.perf_counter(), time.process_time()
    READERS[name](path)
    wall_seconds, processor_seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    return wall_seconds, processor_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """The same in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def run(options: RecordOptions, console: Console) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        storage = str(options.storage or folder)
        table = Table(title="A round of the ImageNet search: K=8 N=16 D=21", title_justify="left")
        for name in ("rounds before", "processor ms", "wall ms"):
            table.add_column(name, justify="right")
        for after, processor_ms, wall_ms in time_rounds(options, f"{storage}/rounds"):
            table.add_row(f"{after:,}", f"{processor_ms:.2f}", f"{wall_ms:.2f}")
        console.print(table)
        median_ms, most_ms = np.quantile(time_appends(options, f"{storage}/appends"), [0.5, 0.9])
        console.print(f"An append of 16 rows to a table: {median_ms:.2f} ms, nine of ten within {most_ms:.2f} ms")
        if not options.evaluations:
            return
        config = search_config(f"{storage}/large", options.evaluations)
        make_large_record(config, options.evaluations)
        table = Table(title=f"A record of {options.evaluations:,} evaluations", title_justify="left")
        for name in ("reader", "wall seconds", "processor seconds", "most memory, GiB"):
            table.add_column(name, justify="right")
        for name in READERS:
            wall_seconds, processor_seconds, gib = apart(measure_reader, name, config.run_path)
            table.add_row(name, f"{wall_seconds:.1f}", f"{processor_seconds:.1f}", f"{gib:.2f}")
        console.print(table)


BENCHMARK = Script(description=str(__doc__), settings=RecordOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    return BENCHMARK.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
