"""The check of a task on a few samples, before anything is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from multinas_ray.data import batch_of, map_tensors, num_samples
from multinas_ray.errors import ConfigError
from multinas_ray.spaces import Structure
from multinas_ray.tasks.scoring import Scorer
from multinas_ray.tasks.task import Task

TOLERANCE = 1e-4
"""Relative difference up to which the loss of some samples is the mean of their losses."""


def check_task(task: Task, outputs: Structure, targets: Any) -> None:
    """Check that loss and metrics take what networks give, with made-up outputs.

    Args:
        task: the task.
        outputs: what a network gives for a sample.
        targets: of some samples.

    Raises:
        ConfigError: a loss or metric does not exist, does not take them, has no gradient or is no mean over samples; or
            a batch is not made of tensors.
    """
    scorer, generator = Scorer(task), torch.Generator().manual_seed(0)
    samples = num_samples(targets)

    def made(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        values = torch.rand(shape, generator=generator) if dtype.is_floating_point else torch.zeros(shape)
        return values.to(dtype).requires_grad_(dtype.is_floating_point)

    given = map_tensors(lambda each: each[None], batch_of(outputs, samples, made))
    mean = scorer.training_loss(given, targets)
    with torch.no_grad():
        of_samples = scorer.losses(given, targets).mean()
        if not torch.allclose(mean.to(of_samples.dtype), of_samples, rtol=TOLERANCE, equal_nan=True):
            raise ConfigError(
                f"the loss {task.loss} must be a mean over the samples, so that workers can share a batch, that of "
                f"{samples} samples is {mean:.6g} and the mean of their losses is {of_samples:.6g}: return one value "
                "for each sample"
            )
        scorer.values(scorer.sums(given, targets))
