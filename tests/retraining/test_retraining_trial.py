"""The trial that trains a network, without Ray; on Ray: test_retrain_cluster.py."""

import time
from types import SimpleNamespace
from typing import Any

import torch

from multinas_ray.cluster import spot
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
