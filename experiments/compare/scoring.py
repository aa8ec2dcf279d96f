"""Scoring architectures with a run's trained supernet, on the CPU."""

# N architectures, D variables

import numpy as np
import torch

from experiments.compare.evolution import Architecture, FloatArray, IntArray
from experiments.compare.settings import Settings
from multinas_ray.data import load_splits, open_stream
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.selection import CandidateEvaluator, CandidateJob
from multinas_ray.supernets import evaluate, load_supernet


class BatchLosses:
    """Losses on one batch of validation images with its own normalisation statistics, as in a round of a search.

    Args:
        config: the search that trained the supernet.
        step: number of the batch.
        num_threads: CPU threads.
    """

    def __init__(self, config: OneShotSearchConfig, step: int, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        splits, training = load_splits(config.data), config.training
        self._supernet = load_supernet(config.run_path, config.space, training.norm_batch_size)
        self._supernet.to(memory_format=torch.channels_last)
        stream = open_stream(
            splits.validation,
            batch_size=training.validation_batch_size,
            seed=config.seed,
            shuffle=True,
            augment=None,
            mean=splits.mean,
            std=splits.std,
            device="cpu",
            norm_batch_size=training.norm_batch_size,
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


def open_evaluator(config: OneShotSearchConfig, settings: Settings, num_threads: int) -> CandidateEvaluator:
    """The package's evaluator of a trained supernet, with recalibrated statistics on all validation images. No Ray."""
    job = CandidateJob(
        run_path=config.run_path,
        space=config.space,
        data=config.data,
        training=config.training,
        seed=config.seed,
        num_threads=num_threads,
        num_workers=1,
        recalibration_images=settings.recalibration_images,
    )
    return CandidateEvaluator(job)


def random_architectures(config: OneShotSearchConfig, count: int) -> list[Architecture]:
    """The random architectures of the ranking, the same for every supernet and seed; all different if possible."""
    categories = config.space.search_space.num_categories
    rng = np.random.default_rng(count)
    number = int(np.prod(categories))
    places = rng.choice(number, size=min(count, number), replace=False)
    return [tuple(row) for row in np.stack(np.unravel_index(places, categories), axis=1).tolist()]
