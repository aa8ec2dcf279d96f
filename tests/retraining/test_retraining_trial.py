"""The trial that trains a network, without Ray; on Ray: test_retrain_cluster.py."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray import tune

from multinas_ray.cluster import spot
from multinas_ray.errors import ConfigError, DataError, RunError, StorageError
from multinas_ray.retraining import RetrainConfig
from multinas_ray.retraining import trial as retraining
from tests.support.metadata import FakeMetadata, aws_notice_of


def test_a_trial_that_trains_by_itself_watches_for_its_nodes_notice(monkeypatch):
    jobs: dict[int, Any] = {7: SimpleNamespace(config=RetrainConfig())}

    def train(job, report, report_seconds, device, *, is_checkpoint_wanted):
        assert (job, device) == (jobs[7], torch.device("cpu"))
        assert not is_checkpoint_wanted()
        cloud.notice = aws_notice_of(60)
        deadline = time.monotonic() + 30
        while not is_checkpoint_wanted():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.01)

    monkeypatch.setattr(spot, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(retraining, "train_network", train)
    with FakeMetadata("aws") as cloud:
        monkeypatch.setenv(spot.URL_VARIABLE, cloud.url)
        retraining.retrain_trial({"network": 7}, jobs)


@pytest.fixture
def trial(monkeypatch):
    """Runs a trial whose training raises an error; returns the results that it reports."""

    def run(error: Exception) -> list[dict[str, Any]]:
        def train(job, network):
            raise error

        reported: list[dict[str, Any]] = []
        monkeypatch.setattr(retraining, "_train", train)
        monkeypatch.setattr(tune, "report", reported.append)
        jobs: Any = {7: None}
        retraining.retrain_trial({"network": 7}, jobs)
        return reported

    return run


@pytest.mark.parametrize(
    ("error", "ends_all"),
    [
        (DataError("photos: is gone"), True),
        (ConfigError("too many: give fewer"), True),
        (RunError("diverged: lower it"), False),
    ],
)
def test_an_error_that_would_come_again_ends_the_trial_and_those_of_data_and_settings_end_all(trial, error, ends_all):
    (result,) = trial(error)
    stopper = retraining.OwnErrors()
    assert not stopper("trial", {"train_loss": 0.5})
    assert not stopper.stop_all()
    assert stopper("trial", result)
    assert stopper.stop_all() == ends_all
    assert type(stopper.error) is type(error)
    assert str(stopper.error) == str(error)


@pytest.mark.parametrize("error", [ZeroDivisionError("by zero"), StorageError(28, "the disk is full")])
def test_other_errors_are_left_to_tune(trial, error):
    with pytest.raises(type(error)):
        trial(error)
