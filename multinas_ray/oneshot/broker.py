"""The broker: one small actor of a run between the driver, the trials and the workers. It does not import torch.

It owns nothing that must survive, since the record of the driver does. It keeps the rounds that wait or are being
computed, and the results that the driver has not yet acknowledged.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable
from typing import Any

from multinas_ray.cluster import SpotNotice
from multinas_ray.oneshot.messages import Ending, Round, RoundResult

START_GATE_SECONDS = 60.0
"""Longest time for which the first results are held back until all trials have started."""

WORKER_ANSWER_SECONDS = 15.0
"""Longest wait for a worker to say that it is alive. It answers while it computes."""


class Broker:
    """Hands rounds to workers and their results to trials, in any order of calls.

    It runs as an async Ray actor. Every wait is for a condition and never relies on the order of calls, because calls
    to an async actor may run out of order.

    Args:
        first_round: number of the first round of this session, which is 0 unless the run is resumed.
        num_trials: number of trials that must have started before the first result is handed out. Otherwise short
            blocks would end while a second trial actor is still starting, and Tune would start a new one for each.
        checkpoint_interval_seconds: least time between two rounds that are marked to be followed by a checkpoint,
            unless a node is about to go.
    """

    def __init__(self, first_round: int, num_trials: int, checkpoint_interval_seconds: float) -> None:
        self._num_trials = num_trials
        self._checkpoint_interval_seconds = checkpoint_interval_seconds
        self._rounds: dict[int, Round] = {}
        self._results: dict[int, RoundResult] = {}
        self._first_undone = first_round
        self._acknowledged = first_round
        self._handed_out = first_round
        self._attempt = ""
        self._attempt_starts: dict[str, int] = {}
        self._workers: list[Any] = []
        self._trials_ready: set[str] = set()
        self._created_seconds = self._stamped_seconds = time.monotonic()
        self._notes: list[object] = []
        self._wanted_seconds: list[float] = []
        self._stop_at: int | None = None
        self._ending: Ending | None = None
        self._changed = asyncio.Condition()

    async def _wait(self, predicate: Callable[[], bool], timeout_seconds: float | None = None) -> bool:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(predicate), timeout_seconds)
            except asyncio.TimeoutError:
                return False
        return True

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # The driver's side.

    async def submit(self, rounds: list[Round], acknowledged: int) -> None:
        """Add rounds to the queue. Results of rounds below `acknowledged` are in the record and are dropped."""
        for each in rounds:
            if each.number >= self._first_undone and not self._is_stopped_before(each.number):
                self._rounds[each.number] = each
        self._acknowledged = max(self._acknowledged, acknowledged)
        for number in [n for n in self._results if n < self._acknowledged]:
            del self._results[number]
        await self._notify()

    async def stop(self, *, workers_are_gone: bool = False) -> None:
        """Withdraw every round that no worker has taken, or every round that is not done if a worker is lost.

        Args:
            workers_are_gone: whether the group has ended. If not, its workers are asked whether they are alive.
        """
        await self._withdraw(self._handed_out)
        if workers_are_gone or not await self._are_workers_there():
            await self._withdraw(self._first_undone)

    async def _withdraw(self, stop_at: int) -> None:
        self._stop_at = stop_at if self._stop_at is None else min(self._stop_at, stop_at)
        self._rounds = {number: each for number, each in self._rounds.items() if number < self._stop_at}
        await self._notify()

    async def end(self, ending: Ending) -> bool:
        """Say that no further round comes, and what the workers shall save. Only the first call counts.

        Returns:
            Whether the workers will hear it. It is False if a worker is lost.
        """
        are_there = await self._are_workers_there()
        self._ending = self._ending or ending
        await self._notify()
        return are_there

    async def _are_workers_there(self) -> bool:
        """Whether every worker of the present attempt answers. If one is lost, none can finish a round."""
        asked = asyncio.gather(*(worker.__ray_ready__.remote() for worker in self._workers), return_exceptions=True)
        try:
            answers = await asyncio.wait_for(asked, WORKER_ANSWER_SECONDS)
        except asyncio.TimeoutError:
            return False
        return not any(isinstance(each, BaseException) for each in answers)

    async def next_note(self, number: int) -> object:
        """Wait for what the workers tell the person: the note with this number, from 0."""
        await self._wait(lambda: len(self._notes) > number)
        return self._notes[number]

    async def notes_from(self, number: int) -> list[object]:
        """Return the notes that have this number or a later one, without waiting."""
        return self._notes[number:]

    # The workers' side.

    async def begin_attempt(self, attempt: str, worker: Any) -> int:
        """Return the first round that is not done, fixed for this attempt of the worker group so that all ranks agree.

        Args:
            attempt: id of the attempt.
            worker: actor handle of the worker.
        """
        if attempt not in self._attempt_starts:
            self._attempt = attempt
            self._attempt_starts[attempt] = self._first_undone
            self._workers = []
        if attempt == self._attempt:
            self._workers.append(worker)
        return self._attempt_starts[attempt]

    async def take(self, next_round: int) -> list[Round] | Ending:
        """Wait for work, and return all waiting rounds from `next_round` on, or the ending if none is left.

        Rank 0 calls it for all. `next_round` is never below the first round that is not done, since a round is done
        only after a collective of all ranks.
        """

        def something() -> bool:
            return next_round in self._rounds or self._ending is not None

        await self._wait(something)
        rounds: list[Round] = []
        while (number := next_round + len(rounds)) in self._rounds:
            if number >= self._handed_out:  # a group that was started again gets the same as the one before
                self._rounds[number] = self._stamp(self._rounds[number])
            rounds.append(self._rounds[number])
        if not rounds:
            assert self._ending is not None
            return self._ending
        self._handed_out = max(self._handed_out, next_round + len(rounds))
        return rounds

    def _stamp(self, each: Round) -> Round:
        """Return the round, marked to be followed by a checkpoint if one is due."""
        now = time.monotonic()
        is_due = now - self._stamped_seconds >= self._checkpoint_interval_seconds
        if not (each.checkpoint or is_due or any(wanted <= now for wanted in self._wanted_seconds)):
            return each
        self._stamped_seconds = now
        self._wanted_seconds = [wanted for wanted in self._wanted_seconds if wanted > now]
        return dataclasses.replace(each, checkpoint=True)

    async def spot_notice(self, notice: SpotNotice) -> None:
        """Take the notice that a node is about to go: checkpoints follow the next round and one of the last before."""
        now = time.monotonic()
        self._wanted_seconds += [now + delay for delay in notice.checkpoint_delays]
        await self.tell(notice)

    async def tell(self, note: object) -> None:
        """Take a note for the person, whose text is printed on the driver."""
        self._notes.append(note)
        await self._notify()

    async def post(self, attempt: str, results: list[RoundResult]) -> None:
        """Take results of the present attempt, one for each round. Others come from a dead group and are ignored."""
        if attempt != self._attempt:
            return
        for result in results:
            if result.round in self._rounds:
                self._results[result.round] = result
        while self._first_undone in self._results:
            self._rounds.pop(self._first_undone, None)
            self._first_undone += 1
        await self._notify()

    # The trials' side.

    async def trial_ready(self, actor_id: str) -> None:
        """Count a trial actor that has started, for the start gate."""
        self._trials_ready.add(actor_id)
        await self._notify()

    async def next_result(self, after: int, stop: int) -> RoundResult | None:
        """Wait for the first round in (after, stop) that is done and not in the record; None if none will come."""
        gate_seconds = START_GATE_SECONDS - (time.monotonic() - self._created_seconds)
        if gate_seconds > 0:
            await self._wait(
                lambda: len(self._trials_ready) >= self._num_trials or self._stop_at is not None, gate_seconds
            )

        def number() -> int:
            return max(after + 1, self._acknowledged)

        def over() -> bool:
            return number() >= stop or self._is_stopped_before(number())

        await self._wait(lambda: over() or number() in self._results)
        return None if over() else self._results[number()]

    def _is_stopped_before(self, number: int) -> bool:
        return self._stop_at is not None and number >= self._stop_at
