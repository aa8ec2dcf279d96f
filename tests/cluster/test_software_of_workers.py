"""A node may join after all nodes were checked. So each kind of worker compares its software with the driver's."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from multinas_ray.cluster import check_software, own_error, software_versions, would_come_again
from multinas_ray.cluster.probe import SAME_EVERYWHERE
from multinas_ray.data import DataConfig
from multinas_ray.errors import RunError
from multinas_ray.oneshot.worker import search_worker
from multinas_ray.retraining import RetrainConfig
from multinas_ray.retraining.worker import RetrainJob, train_network
from multinas_ray.selection.evaluation import CandidateEvaluator
from multinas_ray.tasks import Task
from tests.support.tiny_search import tiny_space
from tests.support.worker_jobs import candidate_job


def retrain_job(folder: str) -> RetrainJob:
    return RetrainJob(
        space=tiny_space(),
        data=DataConfig(source="digits"),
        task=Task(),
        config=RetrainConfig(),
        architecture=(0, 0, 0),
        family_path=folder,
        folders=(folder,),
        work_path=folder,
        supernet_weights=None,
    )


def retrain(job: RetrainJob) -> None:
    train_network(job, print, 1.0, torch.device("cpu"))


@pytest.fixture
def start(make_worker: Any, tmp_path: Any) -> dict[str, Any]:
    """For each kind of worker its job, and what a worker does first."""
    worker = make_worker()
    return {
        "search": (worker.job, lambda job: search_worker({"job": job})),
        "retraining": (retrain_job(str(tmp_path)), retrain),
        "choice": (candidate_job(worker, tmp_path), CandidateEvaluator),
    }


@pytest.mark.parametrize("kind", ["search", "retraining", "choice"])
@pytest.mark.parametrize("package", ["python", *SAME_EVERYWHERE])
def test_a_worker_with_other_software_than_the_driver_ends_the_run(
    start: dict[str, Any], kind: str, package: str
) -> None:
    job, begin = start[kind]
    check_software(job.versions)  # the driver's own
    with pytest.raises(
        RunError, match=rf"the same version of {package}, got .* and 0\.1 where the run did: "
    ) as caught:
        begin(replace(job, versions={**job.versions, package: "0.1"}))
    assert would_come_again(caught.value)
    assert own_error(caught.value) is caught.value


def test_a_package_that_only_one_has_is_told() -> None:
    with pytest.raises(RunError, match=r"the same version of torchvision, got .* and None where"):
        check_software({**software_versions(), "torchvision": None})
