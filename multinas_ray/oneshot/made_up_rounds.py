"""The rounds of a search as its driver has them, with made-up losses: what they cost the driver. No Ray."""

from __future__ import annotations

import dataclasses
import io
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console

from multinas_ray.core import Optimizer
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.messages import RoundResult
from multinas_ray.oneshot.record import open_record
from multinas_ray.oneshot.schedule import FinishedRound, schedule_of
from multinas_ray.oneshot.start import new_description
from multinas_ray.runs import RunSession, write_config
from multinas_ray.storage import check_writable, resolve

WARM_ROUNDS, TIMED_ROUNDS = 5, 40
"""Rounds before a driver's rounds are timed, and at most so many that are timed."""
TIMED_SECONDS = 2.0
"""Longest time of the timed rounds, which end with the round that exceeds it."""


class MadeUpRounds:
    """Draws, updates and the record of a new run, whose workers are made up.

    Args:
        config: the search; its run is written.
        observe: what else is done with a finished round and the optimiser.
    """

    def __init__(
        self, config: OneShotSearchConfig, observe: Callable[[FinishedRound, Optimizer], None] | None = None
    ) -> None:
        write_config(config.run_path, new_description(config, Console(file=io.StringIO())))
        self.record, self.optimizer, _ = open_record(config, RunSession.begin(config.run_path))
        self._observe_too = observe
        self._schedule = schedule_of(config, self.optimizer, self.record.append, self._observe)
        self._rng = np.random.default_rng(0)
        self._drawn = {each.number: each for each in self._schedule.draw()}

    def _observe(self, finished: FinishedRound) -> None:
        self.record.observe(finished)
        if self._observe_too is not None:
            self._observe_too(finished, self.optimizer)

    def one(self) -> None:
        """The next round."""
        number = self._schedule.next_round
        architectures = self._drawn.pop(number).architectures
        losses: Any = [] if architectures is None else self._rng.normal(3.0 - 0.05 * architectures.mean(axis=1), 0.1)
        result = RoundResult(
            round=number,
            train_loss=3.0,
            losses=tuple(losses),
            accuracies=tuple(0.5 for _ in losses),
            compute_seconds=0.1,
        )
        self._schedule.take(result, number // 16, "trial")
        self._drawn |= {each.number: each for each in self._schedule.draw()}


def measure_driver(config: OneShotSearchConfig) -> float:
    """Seconds of the driver for a round that evaluates: draws, update and record, without Tune and Ray.

    The record is written into a temporary folder, on the disk of the run unless that is in an object store.

    Raises:
        StorageError: the folder of the runs cannot be written.
    """
    storage = resolve(config.storage_path)
    check_writable(storage)
    with tempfile.TemporaryDirectory(prefix=".multinas-dry-run-", dir=str(storage) if storage.is_local else None) as at:
        rounds = MadeUpRounds(
            dataclasses.replace(
                config,
                storage_path=at,
                warmup_rounds=min(1, config.warmup_rounds),
                search_rounds=WARM_ROUNDS + TIMED_ROUNDS,
                start=None if config.start == "prior" else config.start,
            )
        )
        for _ in range(WARM_ROUNDS):
            rounds.one()
        started_seconds, count = time.perf_counter(), 0
        while count < TIMED_ROUNDS and time.perf_counter() - started_seconds < TIMED_SECONDS:
            rounds.one()
            count += 1
        seconds = (time.perf_counter() - started_seconds) / count
        rounds.record.close()
        return seconds
