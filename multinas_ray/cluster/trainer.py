"""Ray Train's worker group as a part of a larger run."""

from __future__ import annotations

from typing import Any

from ray.train.torch import TorchTrainer

from multinas_ray.cluster.failures import LastingErrorsEnd


class GroupTrainer(TorchTrainer):
    """A TorchTrainer that does not start its workers again after an error that would come again."""

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        policy = LastingErrorsEnd(self.run_config.failure_config)  # type: ignore[arg-type]  # Ray names an older class
        return super()._initialize_and_run_controller(**{**settings, "failure_policy": policy})  # type: ignore[misc]
