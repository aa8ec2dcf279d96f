"""OneShotSearch, the Tune Searcher of a supernet run: hands out blocks; every round moves the K distributions."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from ray.tune.search import Searcher

from multinas_ray.errors import RunError
from multinas_ray.oneshot.messages import RoundResult
from multinas_ray.oneshot.round_blocks import RoundBlock
from multinas_ray.oneshot.schedule import Schedule

logger = logging.getLogger(__name__)

MAX_BLOCK_FAILURES = 20
"""Failed trials after which a search gives up; each costs nothing but the start of an actor."""


class OneShotSearch(Searcher):
    """Translates between Tune and a `Schedule`: no mathematics here.

    A trial is a block of rounds. Every result of a block is one round's losses: they are recorded, move the
    distributions, and the next round goes to the broker. A block whose trial fails is handed out again; the broker
    gives it only what is not yet in the record.

    Args:
        schedule: rounds and distributions.
        blocks: blocks of this session, in order.
        broker: the broker's actor handle.
        trial_config: what each trial's config holds beside its block.
    """

    def __init__(
        self,
        schedule: Schedule,
        blocks: Sequence[RoundBlock],
        broker: Any,
        trial_config: dict[str, str],
    ) -> None:
        super().__init__()
        self._schedule = schedule
        self._blocks = deque(blocks)
        self._broker = broker
        self._trial_config = trial_config
        self._block_of: dict[str, RoundBlock] = {}
        self._failures = 0
        self._stopped = False
        self.error: BaseException | None = None

    def start(self) -> None:
        """Send the first rounds to the broker."""
        self._submit()

    def stop(self) -> None:
        """Hand out no further block."""
        self._stopped = True

    def _submit(self) -> None:
        self._broker.submit.remote(self._schedule.draw(), self._schedule.next_round)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is a str
        """The next block, or FINISHED; None only while blocks that may come back are running."""
        if self._stopped or self.error or self._schedule.is_complete:
            return str(Searcher.FINISHED)
        if not self._blocks:
            return None if self._block_of else str(Searcher.FINISHED)
        self._block_of[trial_id] = block = self._blocks.popleft()
        return {"block": block.number, "start": block.start, "stop": block.stop, **self._trial_config}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take one round's result. Never raises: an error stops the search and is kept in `error`."""
        block = self._block_of.get(trial_id)
        if block is None or "round" not in result or self.error:
            return
        try:
            self._schedule.take(RoundResult.from_report(result), block.number, trial_id)
            self._submit()
        except Exception as error:
            logger.exception("The search stops: round %s could not be taken.", result["round"])
            self.error = error

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take a block's last round, or hand the block of a failed trial out again."""
        if result:
            self.on_trial_result(trial_id, result)
        block = self._block_of.pop(trial_id, None)
        if error and block is not None:
            self._failures += 1
            self._blocks.appendleft(block)
            if self._failures >= MAX_BLOCK_FAILURES:
                self.error = self.error or RunError(
                    f"{self._failures} trials failed; see their error.txt under the run's tune folder"
                )

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the run's own record and state.json hold all there is."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse: a one-shot search resumes from its own record."""
        raise RunError("a one-shot search is resumed by run_search(..., resume=True), not by Tuner.restore")

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles the searcher into tuner.pkl; keep that to a name."""
        return {}
