"""The one-shot trial: a thin Tune Trainable that stands for a block of rounds. It does not import torch."""

from __future__ import annotations

from typing import Any

import ray
from ray import tune

from multinas_ray.oneshot.round_blocks import RoundBlock


class OneShotTrial(tune.Trainable):
    """Reports each round of its block as one Tune result. The worker group does the work.

    The config has `block`, `start` and `stop`, which are the number and the rounds of the block, and `broker` and
    `namespace`, by which the broker of the run is found. Actors are reused for further blocks, since starting one takes
    seconds.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Find the broker, and tell it that this trial has started."""
        self._broker = ray.get_actor(config["broker"], namespace=config["namespace"])
        ray.get(self._broker.trial_ready.remote(ray.get_runtime_context().get_actor_id()))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next block in the same actor."""
        self._block = RoundBlock(new_config["block"], new_config["start"], new_config["stop"])
        self._after = self._block.start - 1
        return True

    def step(self) -> dict[str, Any]:
        """Wait for the next round of the block; the last result has `done` set."""
        try:
            result: Any = ray.get(self._broker.next_result.remote(self._after, self._block.stop))
        except ray.exceptions.RayActorError:
            ray.actor.exit_actor()  # the broker is gone, and with it the search: nobody may be left to end this process
        if result is None:
            return {"done": True}
        self._after = result.round
        return {**result.to_report(), "block": self._block.number, "done": result.round == self._block.stop - 1}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Save nothing, since the broker and the record hold everything."""
        return {"after": self._after}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Restore nothing, since the broker skips results that are already recorded."""
