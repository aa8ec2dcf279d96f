"""Scoring architectures with a run's trained supernet, on the CPU."""

# N architectures, D variables
import numpy as np
import pandas as pd
import torch

from experiments.compare.settings import Settings
from experiments.compare.truth import slice_of
from experiments.parts.networks import networks_of
from multinas_ray.data import DataSplits, load_splits, open_stream
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.selection import PRIOR, CandidateEvaluator, CandidateJob, make_parts
from multinas_ray.spaces import FloatArray, IntArray
from multinas_ray.supernets import evaluate, load_supernet

SHARED_PART = 64
"""Networks that are scored together; neighbours share the computation of equal beginnings."""


class BatchLosses:
    """Losses on one batch of validation images with its own normalisation statistics, as in a round of a search.

    Args:
        config: the search that trained the supernet.
        splits: its images.
        step: number of the batch.
        together: images of the batch, which are normalised together; None: as in the search.
    """

    def __init__(self, config: OneShotSearchConfig, splits: DataSplits, step: int, together: int | None = None) -> None:
        torch.set_num_threads(config.threads_per_worker or torch.get_num_threads())
        training = config.training
        norm_batch_size = together or training.norm_batch_size
        self._supernet = load_supernet(config.run_path, config.space, norm_batch_size)
        self._supernet.to(memory_format=torch.channels_last)
        stream = open_stream(
            splits.validation,
            batch_size=together or training.validation_batch_size,
            seed=config.seed,
            shuffle=True,
            augment=None,
            mean=splits.mean,
            std=splits.std,
            device="cpu",
            norm_batch_size=norm_batch_size,
        )
        self._images, self._labels = stream.batch(step)
        self.evaluations = 0
        """Architectures evaluated so far."""

    def __call__(self, architectures_ND: IntArray) -> FloatArray:
        """(N,) losses, minimised; those that are not finite become infinite."""
        losses, _ = evaluate(self._supernet, self._images, self._labels, architectures_ND)
        self.evaluations += len(architectures_ND)
        losses_N: FloatArray = losses.double().numpy()
        return np.nan_to_num(losses_N, nan=np.inf, posinf=np.inf)


def open_evaluator(config: OneShotSearchConfig, settings: Settings) -> CandidateEvaluator:
    """The package's evaluator of a trained supernet, with recalibrated statistics on all validation images. No Ray."""
    job = CandidateJob(
        run_path=config.run_path,
        space=config.space,
        data=config.data,
        training=config.training,
        seed=config.seed,
        num_threads=config.threads_per_worker,
        num_workers=1,
        recalibration_images=settings.recalibration_images,
    )
    return CandidateEvaluator(job)


def score_slices(config: OneShotSearchConfig, settings: Settings) -> pd.DataFrame:
    """Score every network in the slices of a search's targets with its trained supernet, on all validation images.

    Half of them are normalised together at a time. That tells about as much as statistics of training images and, since
    networks share the computation of equal beginnings, costs much less.

    Returns:
        A row for each network: `architecture` and `loss`.
    """
    splits = load_splits(config.data)
    halves = [BatchLosses(config, splits, step, settings.validation_images // 2) for step in range(2)]
    slices = [slice_of(config.space, target) for target in config.targets or ()]
    networks_ND = np.unique(np.concatenate(slices), axis=0)
    parts = np.array_split(networks_ND, range(SHARED_PART, len(networks_ND), SHARED_PART))
    losses_N = np.concatenate([np.mean([losses_of(part_ND) for losses_of in halves], axis=0) for part_ND in parts])
    return pd.DataFrame({"architecture": [tuple(row) for row in networks_ND.tolist()], "loss": losses_N})


def score_untrained(settings: Settings, num_threads: int) -> pd.DataFrame:
    """The figures of every network of the space by each part of the prior; they do not depend on a search's seed."""
    torch.set_num_threads(num_threads)
    space = settings.space
    networks_ND = networks_of(space)
    figures = {part.name: part(networks_ND) for part in make_parts(PRIOR, space)}
    return pd.DataFrame({"architecture": [tuple(row) for row in networks_ND.tolist()], **figures})
