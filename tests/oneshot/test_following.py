"""A search as MLflow and Weights & Biases see it, by stand-ins of their clients."""

import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from multinas_ray.cluster import Trackers, trackers
from multinas_ray.errors import MissingPackageError
from multinas_ray.oneshot.following import FollowedRounds, shown_settings


class Server:
    """What MLflow's server keeps."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, Any]] = {}
        self.fails = False

    def client(self, tracking_uri: str) -> "Server":
        assert tracking_uri == "http://server:5000"
        return self

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="7") if self.runs else None

    def create_experiment(self, name: str) -> str:
        return "7"

    def search_runs(self, numbers: list[str], text: str) -> list[Any]:
        return [
            SimpleNamespace(info=SimpleNamespace(run_id=name))
            for name, run in self.runs.items()
            if text == f"tags.multinas_run = '{run['tags']['multinas_run']}'"
        ]

    def create_run(self, number: str, tags: dict[str, str]) -> Any:
        name = f"run{len(self.runs)}"
        self.runs[name] = {"tags": tags, "params": {}, "metrics": [], "ended": 0}
        return SimpleNamespace(info=SimpleNamespace(run_id=name))

    def log_param(self, run: str, name: str, value: Any) -> None:
        self.runs[run]["params"][name] = value

    def log_batch(self, run: str, metrics: list[Any]) -> None:
        if self.fails:
            raise ConnectionError("the server is gone\nTraceback ...")
        assert len(metrics) <= trackers.MOST_METRICS
        self.runs[run]["metrics"] += metrics

    def set_terminated(self, run: str) -> None:
        self.runs[run]["ended"] += 1

    def update_run(self, run: str, status: str) -> None:
        self.runs[run]["begun again"] = status, self.runs[run]["ended"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    modules = {name: ModuleType(name) for name in ("mlflow", "mlflow.entities", "mlflow.tracking")}
    vars(modules["mlflow.entities"])["Metric"] = lambda *row: row
    vars(modules["mlflow.tracking"])["MlflowClient"] = made.client
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return made


DIAGNOSTICS = {
    "coefficient": np.array([0.0, 0.25]),
    "target": np.full(2, np.nan),
    "expected_loss": np.array([0.5, np.nan]),
    "expected_complexity": np.array([0.75, 0.125]),
    "entropy": np.array([3.0, 0.5]),
    "effective_sample_size": np.array([8.0, 3.25]),
    "mode_probability": np.array([0.25, 0.75]),
}


def follow(config: Any, told: list[str], rounds: range) -> None:
    """One session of a search with 4 rounds to warm up."""
    services = Trackers(mlflow="http://server:5000")
    following = services.follow(config.name, config.run_path, shown_settings(config), told.append)
    followed = FollowedRounds(following, 10, 2e6, lambda: DIAGNOSTICS)
    for number in rounds:
        losses = () if number < 4 else (0.5, 0.75, 1.0)
        result = {"round": number, "train_loss": 2.0, "compute_seconds": 0.1, "losses": losses}
        followed.on_trial_result(0, [], None, result)
    followed.on_trial_result(0, [], None, {"done": True})
    following.close()


def test_all_sessions_are_one_run_with_the_points_of_each_round(server: Server, make_config: Any) -> None:
    config, told = make_config(), []  # type: ignore[var-annotated]
    follow(config, told, range(6))
    follow(config, told, range(6, 10))
    ((name, run),) = server.runs.items()
    assert (name, run["ended"], told) == ("run0", 2, [])
    assert run["begun again"] == ("RUNNING", 1)
    assert run["params"]["folder"] == config.run_path
    points = {(metric[0], metric[3]): metric[1] for metric in run["metrics"]}
    assert [step for metric, step in points if metric == "train_loss"] == list(range(10))
    assert [step for metric, step in points if metric == "median_validation_loss"] == list(range(4, 10))
    assert points["expected_complexity/1", 4] == 1.5e6  # network 1 is the larger one
    assert points["expected_complexity/0", 4] == 0.25e6
    assert ("expected_loss/0", 4) not in points  # it is not known yet


def test_a_service_that_fails_is_told_once_and_the_search_goes_on(
    server: Server, make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(trackers, "FLUSH_SECONDS", 0.0)
    server.fails = True
    follow(make_config(), told, range(10))
    assert told == ["MLflow does not follow any more (the server is gone); the run goes on."]


def test_a_run_does_not_wait_for_a_service(server: Server, make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of a service whose server is gone tries again for minutes."""
    told, is_over, answers = [], threading.Event(), []  # type: ignore[var-annotated]
    monkeypatch.setattr(trackers, "CLOSE_SECONDS", 0.2)
    monkeypatch.setattr(server, "get_experiment_by_name", lambda name: answers.append(is_over.wait(60.0)))
    follow(make_config(), told, range(10))
    assert answers == []  # the client still tries
    assert told == ["MLflow has not taken all points within 0 s; the run goes on."]
    is_over.set()


def test_the_run_in_weights_and_biases_is_resumed(make_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config, logged, begun = make_config(), [], []
    module = ModuleType("wandb")

    def init(**settings: Any) -> Any:
        begun.append(settings)
        return SimpleNamespace(log=lambda points, step: logged.append((step, points)), finish=lambda: None)

    vars(module)["init"] = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    for _ in range(2):
        following = Trackers(wandb="project").follow(config.name, config.run_path, {}, print)
        following.log({"train_loss": 1.0}, 3)
        following.close()
    assert begun[0]["id"] == begun[1]["id"]
    assert begun[0]["resume"] == "allow"
    assert logged == [(3, {"train_loss": 1.0})] * 2


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_missing_package_is_told_before_anything_starts(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, tracker, None)
    with pytest.raises(MissingPackageError, match=rf'need the package {tracker}.*"multinas-ray\[tracking\]"'):
        Trackers(**{tracker: "somewhere"}).check()
