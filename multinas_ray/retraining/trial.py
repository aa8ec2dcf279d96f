"""The Tune trial that trains one chosen network."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import ray.train
import torch
from ray import tune
from ray.train import UserCallback

from multinas_ray import errors
from multinas_ray.cluster import GroupTrainer, own_error, worker_resources, would_come_again
from multinas_ray.errors import MultiNASError, RunError, exits_told
from multinas_ray.retraining.recipe import RetrainConfig
from multinas_ray.retraining.worker import RetrainJob, noticed_checkpoints, retraining_worker, train_network

TRIAL_REPORT_SECONDS = 1.0
"""Least time between two results of a trial; the table of the network has every epoch."""
OWN_ERROR = "own_error"
"""Name of a result that is an error of this package which would come again."""
COORDINATOR_CPUS = 0.01
"""CPUs of a trial that only waits for its worker group. Tune refuses 0, and 1 would starve the group."""


class OwnErrors(tune.Stopper):
    """Ends a trial whose error would come again, and all trials if it is one of settings, images or files.

    Tune would start the trial again. So the trial reports the error as a result.
    """

    def __init__(self) -> None:
        self.error: MultiNASError | None = None

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Called by Tune with each result; returns whether the trial ends."""
        if OWN_ERROR not in result:
            return False
        kind, _, text = result[OWN_ERROR].partition(": ")
        error: MultiNASError = getattr(errors, kind, RunError)(text)
        if self.error is None or isinstance(self.error, RunError):
            self.error = error
        return True

    def stop_all(self) -> bool:
        """Called by Tune after each result; returns whether all trials end."""
        return self.error is not None and not isinstance(self.error, RunError)


def retrain_trial(config: dict[str, Any], jobs: Mapping[int, RetrainJob]) -> None:
    """Train the network that the config of the trial names.

    A single worker trains in the process of the trial, since a worker group would take 10 to 25 seconds to start.
    Several workers form a Ray Train worker group, whose reports are passed on to Tune.

    Args:
        config: its `network` is the number of the network.
        jobs: the jobs of all networks, by number.
    """
    try:
        _train(jobs[config["network"]], config["network"])
    except Exception as error:  # whatever it is, it goes on to Tune, which starts the trial again
        own = own_error(error)
        if own is None or not would_come_again(error):
            raise
        tune.report({OWN_ERROR: f"{type(own).__name__}: {own}"})


@exits_told()
def _train(job: RetrainJob, network: int) -> None:
    if job.config.num_workers > 1:
        _train_in_group(job, network)
        return
    if not job.config.use_gpu:
        torch.set_num_threads(job.config.num_threads)
    device = torch.device("cuda" if job.config.use_gpu else "cpu")
    with noticed_checkpoints(device) as is_wanted:
        train_network(job, tune.report, TRIAL_REPORT_SECONDS, device, is_checkpoint_wanted=is_wanted)


def trial_resources(config: RetrainConfig) -> dict[str, float]:
    """The resources that a trial asks Ray for."""
    if config.num_workers > 1:
        return {"cpu": COORDINATOR_CPUS}
    return {name.lower(): amount for name, amount in worker_resources(config.cpus_per_worker, config.use_gpu).items()}


def _train_in_group(job: RetrainJob, network: int) -> None:
    config = job.config
    trainer = GroupTrainer(
        retraining_worker,
        train_loop_config={"job": job},
        scaling_config=ray.train.ScalingConfig(
            num_workers=config.num_workers,
            use_gpu=config.use_gpu,
            resources_per_worker=worker_resources(config.cpus_per_worker, config.use_gpu),
        ),
        run_config=ray.train.RunConfig(
            # The training goes on from the checkpoint of its network, so to Ray Train every start is a new run.
            name=f"network-{network}-{uuid.uuid4().hex[:8]}",
            storage_path=job.work_path,
            failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
            callbacks=[_ReportToTune()],  # type: ignore[list-item]  # the annotation lags behind
        ),
    )
    trainer.fit()


class _ReportToTune(UserCallback):
    """Hands the reports of the workers on to Tune: their group is controlled from the thread of the trial itself.

    Ray's own callback for this starts an actor for the reports.
    """

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Called by Ray Train in the thread of the trial; `metrics` has a report for each rank, and all are equal."""
        tune.report(metrics[0])
