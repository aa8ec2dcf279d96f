"""The progress of a search in the terminal and in TensorBoard."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from multinas_ray.cluster import PlainTable, show
from multinas_ray.core import small_to_large
from multinas_ray.oneshot.schedule import FinishedRound, Plan
from multinas_ray.runs import format_count
from multinas_ray.storage import make_folder, resolve

PLAIN_INTERVAL_SECONDS = 30.0
"""Time between two tables if the output is not a terminal."""
LIVE_INTERVAL_SECONDS = 0.25
"""Time between two tables in a terminal; a round may take less than the making of a table."""
SPEED_PERIOD_SECONDS = 60.0
"""Time over which the speed is averaged, to estimate the remaining time."""
MAX_CURVE_POINTS = 2000
"""The largest number of points of a TensorBoard curve; longer searches are thinned evenly."""

FLUSH_SECONDS = 10.0
"""Least time between two writes of the curves to the disk."""

NO_CURVES = {"coefficient", "target", "mode"}
"""Diagnostics that never change or are not numbers."""

Diagnostics = dict[str, NDArray[Any]]
Diagnose = Callable[[], Diagnostics]
"""The diagnostics of the distributions at present, computed when they are needed."""


def distribution_table(diagnostics: Diagnostics, complexity_name: str, complexity_scale: float) -> Table:
    """A table with one row for each of the K distributions, from the smallest goal to the largest.

    The number of a row is that of the network which the distribution is to find.
    """
    is_targeted = not np.isnan(diagnostics["target"]).any()
    table = PlainTable(title="The K distributions, from small to large networks", title_justify="left", expand=False)
    for name in (
        "#",
        "target" if is_targeted else "coefficient",
        "expected loss",
        f"expected {complexity_name}",
        "entropy",
        "ESS",
        "mode prob.",
    ):
        table.add_column(name, justify="right")
    for number, k in enumerate(small_to_large(diagnostics["coefficient"], diagnostics["target"])):
        goal = diagnostics["target"][k] * complexity_scale
        table.add_row(
            str(number),
            format_count(goal) if is_targeted else f"{diagnostics['coefficient'][k]:.3g}",
            f"{diagnostics['expected_loss'][k]:.4f}",
            format_count(diagnostics["expected_complexity"][k] * complexity_scale),
            f"{diagnostics['entropy'][k]:.2f}",
            f"{diagnostics['effective_sample_size'][k]:.1f}",
            f"{diagnostics['mode_probability'][k]:.3f}",
        )
    return table


class ProgressView:
    """Shows live progress in a terminal; elsewhere a table every half minute and at the end.

    Args:
        plan: the rounds of the search.
        first_round: the first round of this session.
        complexity_name: name of the cost that is the complexity.
        complexity_scale: the cost that counts as a complexity of 1.
        console: where progress is printed.
    """

    def __init__(
        self, plan: Plan, first_round: int, complexity_name: str, complexity_scale: float, console: Console
    ) -> None:
        self._console = console
        self._complexity = complexity_name, complexity_scale
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rounds ·"),
            TimeElapsedColumn(),
            TextColumn("so far ·"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            speed_estimate_period=SPEED_PERIOD_SECONDS,
        )
        self._task = self._progress.add_task("starting workers", total=plan.num_rounds, completed=first_round)
        self._live = (
            Live(self._progress, console=console, refresh_per_second=1 / LIVE_INTERVAL_SECONDS)
            if console.is_terminal
            else None
        )
        self._shown_seconds = -math.inf
        self._unshown: tuple[FinishedRound, Diagnose] | None = None

    def open(self) -> None:
        """Begin to show progress."""
        if self._live:
            self._live.start()
        else:
            self._console.print("starting workers")

    def close(self) -> None:
        """Show the last state."""
        if self._unshown is not None:
            self._show(*self._unshown)
        if self._live:
            self._live.stop()

    def show(self, finished: FinishedRound, diagnose: Diagnose) -> None:
        """Show the state after a round, unless another one was shown just now."""
        phase = "warm-up" if finished.proposals is None else "search"
        self._progress.update(self._task, description=phase, completed=finished.round.number + 1)
        self._unshown = finished, diagnose
        interval_seconds = LIVE_INTERVAL_SECONDS if self._live else PLAIN_INTERVAL_SECONDS
        if (now := time.monotonic()) - self._shown_seconds >= interval_seconds:
            self._shown_seconds = now
            self._show(finished, diagnose)

    def _show(self, finished: FinishedRound, diagnose: Diagnose) -> None:
        table = Group() if finished.proposals is None else distribution_table(diagnose(), *self._complexity)
        if self._live:
            self._live.update(Group(self._progress, table))
        else:
            show(self._console, Group(self._progress.get_renderable(), table))
        self._unshown = None


class Curves:
    """Writes TensorBoard curves: one event file for each session, one curve for each quantity and distribution.

    Distributions have the numbers of the networks that they are to find, 0 for the smallest.

    Each call writes by itself. The usual writer does it in a thread, and where the disk is full, that thread ends and
    the next calls wait for ever.

    Args:
        folder: the folder of the event files.
        plan: the rounds of the search.
    """

    def __init__(self, folder: str, plan: Plan) -> None:
        self._folder = folder
        self._writer: EventsWriter | None = None
        self._stride = -(-plan.num_rounds // MAX_CURVE_POINTS)
        self._flushed_seconds = -math.inf

    def open(self) -> None:
        """Begin the event file."""
        if resolve(self._folder).is_local:
            make_folder(self._folder)
        self._writer = EventsWriter(f"{self._folder}/events")

    def show(self, finished: FinishedRound, diagnose: Diagnose) -> None:
        """Add the points of a round."""
        number = finished.round.number
        if number % self._stride:
            return
        assert self._writer is not None
        values = [Summary.Value(tag=name, simple_value=value) for name, value in _points(finished, diagnose)]
        self._writer.write_event(Event(wall_time=time.time(), step=number, summary=Summary(value=values)))
        if (now := time.monotonic()) - self._flushed_seconds >= FLUSH_SECONDS:
            self._flushed_seconds = now
            self._flush()

    def _flush(self) -> None:
        assert self._writer is not None
        self._writer.flush()

    def close(self) -> None:
        """Write the points that are left."""
        if self._writer is not None:
            self._writer.close()


def _points(finished: FinishedRound, diagnose: Diagnose) -> Iterator[tuple[str, float]]:
    """The name of each curve and its point at a round."""
    result = finished.result
    if math.isfinite(result.train_loss):
        yield "round/train_loss", result.train_loss
    yield "round/compute_seconds", result.compute_seconds
    if result.reduced_bytes:
        yield "round/reduced_bytes", result.reduced_bytes
        yield "round/saved_bytes", result.saved_bytes
    if finished.proposals is None:
        return
    diagnostics = diagnose()
    yield "round/median_validation_loss", float(np.median(result.losses))
    order = small_to_large(diagnostics["coefficient"], diagnostics["target"])
    for name in diagnostics.keys() - NO_CURVES:
        for network, k in enumerate(order):
            yield f"{name}/{network}", float(diagnostics[name][k])
