"""Ray Train's worker group as a part of a larger run, which ends with it."""

from __future__ import annotations

from typing import Any

import ray
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.callback import ControllerCallback

from multinas_ray.cluster.failures import LastingErrorsEnd


class GroupTrainer(TorchTrainer):
    """A TorchTrainer that does not start its workers again after an error that would come again, and leaves nothing.

    Ray Train starts an actor beside each group that removes its placement group. On a cluster that outlives the driver
    this actor stays for ever, with 200 MB of memory. It is not needed, since Ray removes the placement group with the
    controller.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()  # type: ignore[misc]
        return [each for each in callbacks if type(each).__name__ != "PlacementGroupCleanerCallback"]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        policy = LastingErrorsEnd(self.run_config.failure_config)  # type: ignore[arg-type]  # Ray names an older class
        return super()._initialize_and_run_controller(**{**settings, "failure_policy": policy})  # type: ignore[misc]


class ControllerNote(ControllerCallback):
    """Hands the actor that controls a worker group to another actor, so that the group can be ended by it.

    Args:
        actor: name of the other actor, whose `controller_started` is called.
        namespace: its namespace.
    """

    def __init__(self, actor: str, namespace: str) -> None:
        self._actor, self._namespace = actor, namespace

    def after_controller_start(self, train_run_context: Any) -> None:
        """Called by Ray Train in the controller's process."""
        controller = ray.get_runtime_context().current_actor
        ray.get_actor(self._actor, namespace=self._namespace).controller_started.remote(controller)
