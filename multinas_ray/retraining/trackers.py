"""Services that follow trainings. Their packages are imported when they are used."""

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
    """Services that follow the trainings, besides TensorBoard."""

    mlflow: Annotated[str | None, Flag(metavar="URI")] = None
    """Tracking URI of MLflow, such as http://server:5000 or sqlite:///runs.db; the experiment is named after the
    run."""
    wandb: Annotated[str | None, Flag(metavar="PROJECT")] = None
    """Project in Weights & Biases; the key is that of WANDB_API_KEY or of `wandb login`."""

    def callbacks(self, name: str) -> list[Callback]:
        """Return Tune's callbacks for the services.

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
