"""The one-shot trial: a thin Tune Trainable that stands for a block of rounds. No torch."""

from __future__ import annotations

from typing import Any

import ray
from ray import tune

from multinas_ray.oneshot.round_blocks import RoundBlock


class OneShotTrial(tune.Trainable):
    """Reports each round of its block as one Tune result; the work itself is done by the worker group.

    Config: `block`, `start` and `stop`, the number and the rounds of the block; `broker` and `namespace`, where the
    run's broker is found. Actors are reused from block to block, since starting one takes seconds.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Find the broker and say that this trial is up."""
        self._broker = ray.get_actor(config["broker"], namespace=config["namespace"])
        ray.get(self._broker.trial_ready.remote(ray.get_runtime_context().get_actor_id()))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next block over in the same actor."""
        self._block = RoundBlock(new_config["block"], new_config["start"], new_config["stop"])
        self._after = self._block.start - 1
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the block's next round; the last result has `done` set."""
        result: Any = ray.get(self._broker.next_result.remote(self._after, self._block.stop))
        if result is None:
            return {"done": True}
        self._after = result.round
        return {**result.to_report(), "block": self._block.number, "done": result.round == self._block.stop - 1}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing to keep: the broker and the record hold all there is."""
        return {"after": self._after}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing to restore: results already recorded are skipped by the broker."""
