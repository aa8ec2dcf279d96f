"""Services that follow trainings. Their packages are loaded when they are used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from multinas_ray.errors import require
from multinas_ray.settings import Flag, checked

if TYPE_CHECKING:
    from ray.tune import Callback


@checked
@dataclass(frozen=True, kw_only=True)
class Trackers:
    """Services that follow the trainings, beside TensorBoard's files."""

    mlflow: Annotated[str | None, Flag(metavar="URI")] = None
    """MLflow's tracking URI, such as http://server:5000 or sqlite:///runs.db; the experiment has the run's name."""
    wandb: Annotated[str | None, Flag(metavar="PROJECT")] = None
    """Project in Weights & Biases; its key is read from WANDB_API_KEY or from `wandb login`."""

    def callbacks(self, name: str) -> list[Callback]:
        """Tune's own callbacks for them.

        Raises:
            MissingPackageError: a package is not installed.
        """
        found: list[Callback] = []
        if self.mlflow is not None:
            require("mlflow", extra="tracking", purpose="curves in MLflow")
            from ray.air.integrations.mlflow import MLflowLoggerCallback

            found.append(MLflowLoggerCallback(tracking_uri=self.mlflow, experiment_name=name))
        if self.wandb is not None:
            require("wandb", extra="tracking", purpose="curves in Weights & Biases")
            from ray.air.integrations.wandb import WandbLoggerCallback

            found.append(WandbLoggerCallback(project=self.wandb, group=name))
        return found
