"""Measures the overhead of MultiNASSearch: time of suggest plus on_trial_complete, and memory, as a search grows.

It drives the searcher as Tune does, without Ray, with two trials in flight and artificial losses that do not repeat:
with default settings, with reuse_results and with the screened optimiser. For comparison, each optimiser also runs
alone, asked and told one by one, without record, decoding and looking up trials. Each runs in a separate process, whose
memory is reported; the record's size is that on disk. With reuse_results, a search that has converged draws several
known configurations for each new one; they are recorded and learned from without a run, and their time is counted with
that of the new one.
"""

import multiprocessing
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
from ray import tune
from rich.console import Console
from rich.progress import track
from rich.table import Table

from multinas_ray.commands.script import Script
from multinas_ray.core import default_coefficients, make_optimizer, optimizer_kind
from multinas_ray.settings import Flag, NonNegativeInt, OneOf, PositiveInt, checked
from multinas_ray.tune import MultiNASSearch

SEARCHES: dict[str, dict[str, Any]] = {
    "default": {},
    "reuse_results": {"reuse_results": True},
    "screened": {"optimizer": "screened"},
}
"""Name -> the searcher's options."""


@checked
@dataclass(frozen=True, kw_only=True)
class SearcherOptions:
    """The sizes, and when the searches are timed."""

    distributions: PositiveInt = 8
    """K."""
    variables: PositiveInt = 21
    """D."""
    categories: PositiveInt = 7
    """C."""
    after: tuple[NonNegativeInt, ...] = (0, 1_000, 100_000)
    """Evaluations before each timing."""
    window: PositiveInt = 1_000
    """Evaluations that are timed at each point."""
    searches: Annotated[tuple[Annotated[str, OneOf(SEARCHES)], ...], Flag(metavar="NAME")] = tuple(SEARCHES)
    """Searches that are timed."""


class SearcherTrials:
    """Trials of a MultiNASSearch, one at a time; two are in flight."""

    def __init__(self, options: SearcherOptions, name: str, record: Path) -> None:
        names = [f"x{d:02}" for d in range(options.variables)]
        self._search = MultiNASSearch(
            metric="loss",
            mode="min",
            complexity="complexity",
            num_distributions=options.distributions,
            seed=0,
            record_path=str(record),
            **SEARCHES[name],
        )
        choices = list(range(options.categories))
        self._search.set_search_properties(None, None, {name: tune.choice(choices) for name in names})
        self._rng = np.random.default_rng(0)
        self._live: deque[tuple[str, float]] = deque()
        self._number = 0

    def one(self) -> float:
        """Returns the seconds of one suggest and one on_trial_complete."""
        trial_id = f"{self._number:08x}"
        self._number += 1
        start = time.perf_counter()
        config = self._search.suggest(trial_id)
        seconds = time.perf_counter() - start
        if not isinstance(config, dict):
            raise SystemExit(f"the search ended after {self._number} trials: {self._search.error or config}")
        self._live.append((trial_id, sum(config.values()) / (100.0 * len(config))))
        if len(self._live) == 2:
            done, complexity = self._live.popleft()
            result = {"loss": float(self._rng.random() - complexity), "complexity": complexity}
            start = time.perf_counter()
            self._search.on_trial_complete(trial_id=done, result=result)
            seconds += time.perf_counter() - start
        if self._search.error is not None:
            raise SystemExit(f"the searcher failed: {self._search.error}")
        return seconds


class OptimizerTrials:
    """The optimiser alone, which is asked for one proposal and told one result at a time."""

    def __init__(self, options: SearcherOptions, name: str) -> None:
        self._rng = np.random.default_rng(0)
        losses, complexities = self._rng.random((2, 100))
        settings = optimizer_kind("screened" if name == "screened" else "distributions")(
            num_categories=(options.categories,) * options.variables,
            coefficients=default_coefficients(losses, complexities, options.distributions),
            memory=4 if name == "reuse_results" else 0,
            margin_scale=0.5,
        )
        self._optimizer = make_optimizer(settings, seed=0)

    def one(self) -> float:
        """Returns the seconds of one ask and one tell."""
        start = time.perf_counter()
        proposal = self._optimizer.ask(1)
        seconds = time.perf_counter() - start
        complexity = float(proposal.architectures.mean()) / 100.0
        loss = float(self._rng.random()) - complexity
        start = time.perf_counter()
        self._optimizer.tell(proposal, [loss], [complexity])
        return seconds + time.perf_counter() - start


@dataclass(frozen=True)
class Timing:
    """The cost of evaluations at one point of a search."""

    seconds: np.ndarray
    """(n,) wall time of each."""
    cpu_seconds: float
    """Mean processor time of one evaluation, including the benchmark's own work but not that of other processes."""
    memory_bytes: int
    """Memory in use; writing the record takes some more for a moment."""
    record_bytes: int
    """Size of the record on disk so far; 0 without a record."""


def measure(one: Callable[[], float], options: SearcherOptions, title: str, record: Path) -> list[Timing]:
    """Times `options.window` evaluations after each number in `options.after`; `record` is the folder of the record."""
    results, done = [], 0
    for after in options.after:
        for _ in track(range(after - done), description=f"{title}, to {after:,}", transient=True):
            one()
        start = time.process_time()
        times = np.array([one() for _ in range(options.window)])
        cpu_seconds = (time.process_time() - start) / options.window
        done = after + options.window
        results.append(Timing(times, cpu_seconds, memory_bytes(), folder_bytes(record)))
    return results


def memory_bytes() -> int:
    """Returns the memory that this process uses now."""
    return int(psutil.Process().memory_info().rss)


def folder_bytes(folder: Path) -> int:
    """Returns the size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure_search(name: str, with_record: bool, options: SearcherOptions) -> list[Timing]:
    """Measures one of SEARCHES, as a searcher with its record or as an optimiser alone."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        trials = SearcherTrials(options, name, record) if with_record else OptimizerTrials(options, name)
        return measure(trials.one, options, name, record)


def measure_apart(name: str, with_record: bool, options: SearcherOptions) -> list[Timing]:
    """The same in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure_search, name, with_record, options).result()


def add_rows(table: Table, title: str, options: SearcherOptions, results: list[Timing]) -> None:
    """A row for each point of the search; of the times the mean counts too, as updates come once in a while."""
    for after, timing in zip(options.after, results, strict=True):
        low, median, high = 1000 * np.quantile(timing.seconds, [0.05, 0.5, 0.95])
        # Means of ten parts, whose spread comes from the machine and not from the rounds.
        parts = [1000 * part.mean() for part in np.array_split(timing.seconds, 10)]
        means = f"{np.median(parts):.2f} ({min(parts):.2f} to {max(parts):.2f})"
        table.add_row(
            title,
            f"{after:,}",
            f"{median:.2f} ({low:.2f} to {high:.2f})",
            means,
            f"{1000 * timing.cpu_seconds:.2f}",
            f"{(timing.memory_bytes - results[0].memory_bytes) / 2**20:.1f}",
            f"{timing.record_bytes / 2**20:.1f}" if timing.record_bytes else "",
        )
    table.add_section()


def run(options: SearcherOptions, console: Console) -> None:
    """Time each search, and print the table."""
    title = f"K={options.distributions} D={options.variables} C={options.categories}"
    table = Table(title=title, title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("evaluations", justify="right")
    table.add_column("ms an evaluation\nmedian (5 % to 95 %)", justify="right")
    table.add_column("mean of ten parts\nmedian (least to most)", justify="right")
    table.add_column("processor\nmean ms", justify="right")
    table.add_column("memory grown\nMiB", justify="right")
    table.add_column("record\nMiB", justify="right")
    for name in options.searches:
        for with_record, title in ((True, name), (False, f"{name}, optimiser alone")):
            add_rows(table, title, options, measure_apart(name, with_record, options))
    console.print(table)


BENCHMARK = Script(description=str(__doc__), settings=SearcherOptions)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    return BENCHMARK.run(argv, run)


if __name__ == "__main__":
    raise SystemExit(main())
