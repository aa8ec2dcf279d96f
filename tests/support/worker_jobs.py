import pytest
import torch

from multinas_ray.data import DataConfig, load_splits
from multinas_ray.oneshot import RoundWorker, WorkerJob
from multinas_ray.selection import CandidateJob
from multinas_ray.spaces import digits_space
from multinas_ray.supernets import WeightTraining


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def splits():
    return load_splits(DataConfig(source="digits", validation_fraction=0.25))


@pytest.fixture
def make_job():
    """The quickstart's job at half its width."""

    def make(
        *, num_weight_steps=40, weights_first=False, warmup_rounds=5, run_path="", deterministic=False, **training
    ):
        settings = {"batch_size": 64, "validation_batch_size": 64, "norm_batch_size": 32, "weight_decay": 1e-4}
        return WorkerJob(
            space=digits_space(width_multiplier=0.5),
            data=DataConfig(source="digits", validation_fraction=0.25),
            training=WeightTraining(**{**settings, **training}),
            num_weight_steps=num_weight_steps,
            weights_first=weights_first,
            warmup_rounds=num_weight_steps if weights_first else warmup_rounds,
            seed=3,
            broker="broker",
            namespace="tests",
            run_path=run_path,
            deterministic=deterministic,
            threads_per_worker=1,
        )

    return make


@pytest.fixture
def make_worker(make_job, splits):
    def make(**changes):
        return RoundWorker(make_job(**changes), splits, torch.device("cpu"))

    return make


def candidate_job(worker, run_path):
    """The job of who chooses among the networks of a worker, whose supernet lies in a folder."""
    job = worker.job
    return CandidateJob(
        run_path=str(run_path),
        space=job.space,
        data=job.data,
        training=job.training,
        task=job.task,
        seed=job.seed,
        num_threads=1,
        num_workers=1,
    )
