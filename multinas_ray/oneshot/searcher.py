"""OneShotSearch, the Tune Searcher of a one-shot search: it hands out blocks and learns from every round."""

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
"""Number of failed trials after which a search stops with an error; each costs only the start of an actor."""


class OneShotSearch(Searcher):
    """Translates between Tune and a `Schedule`, without any mathematics.

    A trial is a block of rounds, and every result of it holds the losses of one round. They are recorded and move the
    distributions, and the next round is sent to the broker. A block whose trial fails is handed out again; the broker
    then gives it only rounds that are not yet in the record.

    Args:
        schedule: the rounds and distributions.
        blocks: the blocks of this session, in order.
        broker: the actor handle of the broker.
        trial_config: the content of each trial's config besides its block.
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
        """Return the next block or FINISHED; None as long as blocks are running that may be handed out again."""
        if self._stopped or self.error or self._schedule.is_complete:
            return str(Searcher.FINISHED)
        if not self._blocks:
            return None if self._block_of else str(Searcher.FINISHED)
        self._block_of[trial_id] = block = self._blocks.popleft()
        return {"block": block.number, "start": block.start, "stop": block.stop, **self._trial_config}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take in the result of one round. It never raises: an error stops the search and is kept in `error`."""
        block = self._block_of.get(trial_id)
        if block is None or "round" not in result or self.error:
            return
        try:
            self._schedule.take(RoundResult.from_report(result), block.number, trial_id)
            self._submit()
        except Exception as error:  # Tune would fail one trial after the other with it; it ends the search instead
            logger.error("The search stops, because round %s could not be recorded.", result["round"])
            self.error = error

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take in the last round of a block, or hand out the block of a failed trial again."""
        if result:
            self.on_trial_result(trial_id, result)
        block = self._block_of.pop(trial_id, None)
        if error and block is not None:
            self._failures += 1
            self._blocks.appendleft(block)
            if self._failures >= MAX_BLOCK_FAILURES:
                self.error = self.error or RunError(
                    f"fewer than {MAX_BLOCK_FAILURES} trials may fail, {self._failures} failed: see error.txt in the "
                    "tune folder of the run"
                )

    def save(self, checkpoint_path: str) -> None:
        """Save nothing, since the record of the run and state.json hold everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Refuse, since a one-shot search is resumed from its own record."""
        raise RunError("Tuner.restore cannot resume a one-shot search: call run_search(..., resume=True)")

    def __getstate__(self) -> dict[str, Any]:
        """Keep the pickle small, since Tune pickles the searcher into tuner.pkl."""
        return {}
