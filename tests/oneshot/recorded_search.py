"""A one-shot search without Ray: the real record, schedule and optimiser, and made-up losses."""

from typing import Any

import numpy as np
from rich.console import Console

from multinas_ray.oneshot import OneShotSearchConfig, Round, RoundResult
from multinas_ray.oneshot.preflight import check_run_folder
from multinas_ray.oneshot.record import open_record
from multinas_ray.oneshot.schedule import FinishedRound, schedule_of
from multinas_ray.oneshot.start import new_description
from multinas_ray.runs import RunSession, write_config, write_finished


class Crash(BaseException):
    """The driver is killed here."""


class RecordedSearch:
    """One start of a driver. `crash_at` is (stage, round)."""

    def __init__(
        self, config: OneShotSearchConfig, number: int, crash_at: tuple[str | None, int | None] = (None, None)
    ) -> None:
        self.config, self.number, self.crash_at = config, number, crash_at
        check_run_folder(config, resume=number > 0)
        if number == 0:
            write_config(config.run_path, new_description(config, Console(quiet=True)))
        session = RunSession.begin(config.run_path)
        assert session.number == number
        self.record, self.optimizer, self.first_round = open_record(config, session)
        self.schedule = schedule_of(config, self.optimizer, self.append, self.observe, self.first_round)
        self.drawn: dict[int, Round] = {}

    def maybe_crash(self, stage: str, number: int) -> None:
        if self.crash_at == (stage, number):
            raise Crash

    def append(self, finished: FinishedRound) -> None:
        self.maybe_crash("before append", finished.round.number)
        self.record.append(finished)
        self.maybe_crash("after append", finished.round.number)

    def observe(self, finished: FinishedRound) -> None:
        self.maybe_crash("after tell", finished.round.number)
        self.record.observe(finished)
        self.maybe_crash("after observe", finished.round.number)

    def result_of(self, drawn: Round) -> RoundResult:
        rows: Any = np.zeros((0, 6), int) if drawn.architectures is None else drawn.architectures
        noise = np.random.default_rng((self.number, drawn.number)).normal(0, 0.05, len(rows))
        losses = 1.0 - 0.3 * self.config.cost(rows) / self.config.complexity_scale + noise
        if drawn.number == 5:
            losses[:1] = np.inf
        return RoundResult(
            round=drawn.number,
            train_loss=1.0,
            losses=tuple(losses.tolist()),
            accuracies=tuple([0.5] * len(rows)),
            compute_seconds=0.02,
            reduced_bytes=1000 + drawn.number,
            saved_bytes=5000,
        )

    def draw(self) -> None:
        self.drawn.update({each.number: each for each in self.schedule.draw()})

    def run(self) -> "RecordedSearch":
        self.draw()
        while not self.schedule.is_complete:
            number = self.schedule.next_round
            self.schedule.take(self.result_of(self.drawn[number]), number // 4, f"trial-{self.number}")
            self.draw()
        return self

    def finish(self) -> None:
        self.record.save(self.schedule.next_round)
        totals = {"num_evaluations": self.optimizer.num_told, "num_restarts": self.number}
        write_finished(self.config.run_path, totals)
