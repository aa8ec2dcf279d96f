"""Services that follow searches and trainings. Their packages are imported when they are used."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from multinas_ray.errors import first_line, require
from multinas_ray.settings import Flag, checked

if TYPE_CHECKING:
    from ray.tune import Callback

FLUSH_SECONDS = 10.0
"""Time between two deliveries to MLflow, each of which is a request."""
CLOSE_SECONDS = 30.0
"""Longest time in which services may take what is left at the end."""
MOST_METRICS = 1000
"""Most metrics that MLflow takes at once."""


@checked
@dataclass(frozen=True, kw_only=True)
class Trackers:
    """Services that follow a search or trainings, besides TensorBoard."""

    mlflow: Annotated[str | None, Flag(metavar="URI")] = None
    """Tracking URI of MLflow, such as http://server:5000 or sqlite:///runs.db; the experiment is named after the
    run."""
    wandb: Annotated[str | None, Flag(metavar="PROJECT")] = None
    """Project in Weights & Biases; the key is that of WANDB_API_KEY or of `wandb login`."""

    def check(self) -> None:
        """Check that the packages of the services are there.

        Raises:
            MissingPackageError: One is not installed.
        """
        if self.mlflow is not None:
            require("mlflow", extra="tracking", purpose="curves in MLflow")
        if self.wandb is not None:
            require("wandb", extra="tracking", purpose="curves in Weights & Biases")

    def callbacks(self, name: str) -> list[Callback]:
        """Return Tune's callbacks for the services.

        Raises:
            MissingPackageError: a package is not installed.
        """
        self.check()
        found: list[Callback] = []
        if self.mlflow is not None:
            from ray.air.integrations.mlflow import MLflowLoggerCallback

            found.append(MLflowLoggerCallback(tracking_uri=self.mlflow, experiment_name=name))
        if self.wandb is not None:
            from ray.air.integrations.wandb import WandbLoggerCallback

            found.append(WandbLoggerCallback(project=self.wandb, group=name))
        return found

    def follow(self, name: str, place: str, settings: Mapping[str, Any], tell: Callable[[str], None]) -> Following:
        """Begin to follow one run, which has one run in each service over all its sessions.

        Args:
            name: the name of the run.
            place: its folder, by which the service's run is found again.
            settings: what is shown beside the curves.
            tell: prints a line; a service that fails is told once and is not followed by any more.

        Raises:
            MissingPackageError: a package is not installed.
        """
        self.check()
        makers: dict[str, Callable[[], Service]] = {}
        if self.mlflow is not None:
            uri = self.mlflow
            makers["MLflow"] = lambda: MLflow(uri, name, place, settings)
        if self.wandb is not None:
            project = self.wandb
            makers["Weights & Biases"] = lambda: WeightsAndBiases(project, name, place, settings)
        return Following(makers, tell)


class Service(Protocol):
    """A service that keeps the curves of one run."""

    def log(self, points: Mapping[str, float], step: int) -> None:
        """Take the points of one step."""

    def close(self) -> None:
        """Deliver what is left."""


class Following:
    """Gives the points of a run to services. Whatever befalls these never befalls the run, which never waits for them.

    Args:
        makers: open each service, by its name.
        tell: prints a line; it is called from other threads too.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Service]], tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._deliveries = [Delivery(name, make, tell) for name, make in makers.items()]

    def log(self, points: Mapping[str, float], step: int) -> None:
        """Give the points of one step to all services."""
        for each in self._deliveries:
            each.waiting.put((points, step))

    def close(self) -> None:
        """Let the services deliver what is left, for some time."""
        for each in self._deliveries:
            each.waiting.put(None)
        until_seconds = time.monotonic() + CLOSE_SECONDS
        for each in self._deliveries:
            each.thread.join(max(0.0, until_seconds - time.monotonic()))
            if each.thread.is_alive():
                self._tell(f"{each.name} has not taken all points within {CLOSE_SECONDS:.0f} s; the run goes on.")
        self._deliveries = []


class Delivery:
    """Opens a service and gives it its points, in a thread of its own: its client may wait minutes for a dead server.

    Args:
        name: the name of the service.
        make: opens it.
        tell: prints that it has failed, after which it gets no more points.
    """

    def __init__(self, name: str, make: Callable[[], Service], tell: Callable[[str], None]) -> None:
        self.name, self._make, self._tell = name, make, tell
        self.waiting: SimpleQueue[tuple[Mapping[str, float], int] | None] = SimpleQueue()
        """Points and their steps; None is the end."""
        self.thread = threading.Thread(target=self._run, name=f"following in {name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            service = self._make()
            while (each := self.waiting.get()) is not None:
                service.log(*each)
            service.close()
        except Exception as error:  # clients of services raise what they like
            self._tell(f"{self.name} does not follow any more ({first_line(error)}); the run goes on.")


class MLflow:
    """One run in MLflow, by its client."""

    def __init__(self, uri: str, name: str, place: str, settings: Mapping[str, Any]) -> None:
        entities, tracking = (
            require(f"mlflow.{part}", extra="tracking", purpose="curves in MLflow") for part in ("entities", "tracking")
        )
        self._metric, self._client = entities.Metric, tracking.MlflowClient(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name(name)
        number = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        key = _digest(place)
        earlier = self._client.search_runs([number], f"tags.multinas_run = '{key}'")
        if earlier:
            self._run = earlier[0].info.run_id
            self._client.update_run(self._run, status="RUNNING")
        else:
            tags = {"multinas_run": key, "mlflow.runName": name}
            self._run = self._client.create_run(number, tags=tags).info.run_id
            for setting, value in settings.items():
                self._client.log_param(self._run, setting, value)
        self._waiting: list[Any] = []
        self._flushed_seconds = time.monotonic()

    def log(self, points: Mapping[str, float], step: int) -> None:
        """Take the points of one step; they are delivered some seconds later."""
        now = int(1000 * time.time())
        self._waiting += [self._metric(name, value, now, step) for name, value in points.items()]
        if time.monotonic() - self._flushed_seconds >= FLUSH_SECONDS:
            self._flush()

    def close(self) -> None:
        """Deliver what is left, and end the run."""
        self._flush()
        self._client.set_terminated(self._run)

    def _flush(self) -> None:
        self._flushed_seconds = time.monotonic()
        while self._waiting:
            self._client.log_batch(self._run, metrics=self._waiting[:MOST_METRICS])
            del self._waiting[:MOST_METRICS]


class WeightsAndBiases:
    """One run in Weights & Biases, by its client, which delivers beside the search."""

    def __init__(self, project: str, name: str, place: str, settings: Mapping[str, Any]) -> None:
        client: Any = require("wandb", extra="tracking", purpose="curves in Weights & Biases")
        self._run = client.init(project=project, name=name, id=_digest(place), resume="allow", config=dict(settings))

    def log(self, points: Mapping[str, float], step: int) -> None:
        """Take the points of one step."""
        self._run.log(dict(points), step=step)

    def close(self) -> None:
        """Deliver what is left, and end the run."""
        self._run.finish()


def _digest(place: str) -> str:
    return hashlib.sha256(place.encode()).hexdigest()[:16]
