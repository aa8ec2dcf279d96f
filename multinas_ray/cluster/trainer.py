"""Ray Train's worker group as a part of a larger run, which ends with it."""

from __future__ import annotations

from typing import Any

import ray
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy

from multinas_ray.cluster.failures import LastingErrorsEnd


class GroupTrainer(TorchTrainer):
    """A TorchTrainer that does not start its workers again after an error that would come again, and leaves nothing.

    Ray Train starts further actors for each group, each a process of some seconds and 200 MB. Three are left out:

    - One removes the group's placement group, and stays for ever on a cluster that outlives the driver. Ray removes
      the placement group with the controller anyway.
    - One hands out Ray Data's data sets; these workers read their data themselves.
    - One shares the nodes between Ray Data and Ray Train. Without it the placement group asks the autoscaler for nodes.
    """

    def _create_default_callbacks(self) -> list[Any]:
        callbacks: list[Any] = super()._create_default_callbacks()  # type: ignore[misc]
        return [each for each in callbacks if type(each).__name__ not in _LEFT_OUT]

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        settings["failure_policy"] = LastingErrorsEnd(self.run_config.failure_config)  # type: ignore[arg-type]  # Ray names an older class
        settings["scaling_policy"] = _FixedWithoutCoordinator(self.scaling_config)  # type: ignore[arg-type]  # likewise
        return super()._initialize_and_run_controller(**settings)  # type: ignore[misc]


_LEFT_OUT = ("PlacementGroupCleanerCallback", "DatasetsCallback")


class _FixedWithoutCoordinator(FixedScalingPolicy):
    """As many workers as the settings say, without the actor that shares nodes with Ray Data."""

    def after_controller_start(self, train_run_context: Any) -> None:
        """Ask nobody for resources."""

    def _maybe_send_resource_request(self) -> None:
        """Ask nobody for resources."""


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
