"""The progress of retraining: one line for each network."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from ray import tune
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from multinas_ray.cluster import show
from multinas_ray.oneshot import PLAIN_INTERVAL_SECONDS
from multinas_ray.runs import PrimaryMetric, format_count


class RetrainingView(tune.Callback):
    """Shows live progress in a terminal; elsewhere it prints the same lines every half minute and at the end.

    It follows the trials as a Tune callback. Use it as a context manager.

    Args:
        descriptions: the name of each network for people, by its number.
        epochs: the epochs of each training.
        finished: called with the number of a network after its files are written.
        console: where to print.
        metric: the primary metric of the task; None: the accuracy.
    """

    def __init__(
        self,
        descriptions: Mapping[int, str],
        epochs: int,
        finished: Callable[[int], None],
        console: Console,
        metric: PrimaryMetric | None = None,
    ) -> None:
        self._console, self._epochs, self._finished = console, epochs, finished
        self._metric = metric or PrimaryMetric()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TextColumn("{task.fields[state]}"),
            console=console,
        )
        self._tasks = {
            network: self._progress.add_task(text, total=epochs, start=False, state="waiting")
            for network, text in descriptions.items()
        }
        self._printed_seconds = -math.inf

    def __enter__(self) -> RetrainingView:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._progress.stop()
        else:
            show(self._console, self._progress.get_renderable())

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when the training of a network starts or starts again."""
        task = self._tasks[trial.config["network"]]
        self._progress.start_task(task)
        self._show(task, state="starting")

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune for each result."""
        if "train_loss" in result:
            self._show(self._tasks[trial.config["network"]], completed=result["epoch"], state=self._state(result))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when a network is finished."""
        network = trial.config["network"]
        if "test_accuracy" not in trial.last_result:
            self.on_trial_error(iteration, trials, trial, **info)
            return
        self._finished(network)
        task, accuracy = self._tasks[network], trial.last_result["test_accuracy"]
        self._progress.stop_task(task)
        self._show(task, completed=self._epochs, state=f"done, test {self._metric.name} {self._metric.text(accuracy)}")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when the training of a network has failed for good."""
        self._show(self._tasks[trial.config["network"]], state="failed")

    def _show(self, task: Any, **changes: Any) -> None:
        self._progress.update(task, **changes)
        if self._console.is_terminal or (now := time.monotonic()) - self._printed_seconds < PLAIN_INTERVAL_SECONDS:
            return
        self._printed_seconds = now
        show(self._console, self._progress.get_renderable())

    def _state(self, result: dict[str, Any]) -> str:
        if "validation_accuracy" in result:
            name = "val. acc." if self._metric.name == "accuracy" else f"val. {self._metric.name}"
            return f"loss {result['train_loss']:.3f}, {name} {self._metric.text(result['validation_accuracy'])}"
        return f"loss {result['train_loss']:.3f}, {format_count(result['images_per_second'])} {self._metric.samples}/s"

    def __getstate__(self) -> dict[str, Any]:
        """Nothing is pickled: Tune pickles callbacks into tuner.pkl, but this one serves its own process only."""
        return {}
