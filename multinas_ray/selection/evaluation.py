"""The evaluation of candidates with the supernet's weights, by Ray actors.

The search compares subnets on one batch and normalises by the statistics of that batch. Here each candidate is a
network of its own: it has its own batch-normalisation statistics and is evaluated on every validation image. The test
images are used for chosen networks only.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
import torch
from ray.util import ActorPool
from torch import nn

from multinas_ray.data import Batches, load_splits, open_stream
from multinas_ray.errors import RunError
from multinas_ray.runs import WEIGHTS_FILE
from multinas_ray.selection.outcome import Architecture
from multinas_ray.selection.prior import PriorPart, make_parts
from multinas_ray.selection.scores import Score, part_means
from multinas_ray.storage import make_folder, resolve, write_atomic
from multinas_ray.supernets import extract_subnet, image_scores, load_supernet, recalibrate_batch_norm

if TYPE_CHECKING:
    from multinas_ray.data import DataConfig
    from multinas_ray.spaces import NetworkSpace
    from multinas_ray.supernets import WeightTraining

RECALIBRATION_IMAGES = 20_000
"""Default number of training images, at most, for batch-normalisation statistics, whose error falls with its root."""
MAX_RETRIES = 3
"""How often an actor whose process dies is started again and its evaluation repeated."""

PRIOR_PART = 64
"""Architectures that an actor gives their prior at a time; neighbours share the computation of equal beginnings."""


@dataclass(frozen=True, kw_only=True)
class CandidateJob:
    """What an actor needs to evaluate candidates."""

    run_path: str
    """Folder of the run, which holds supernet.pt."""
    space: NetworkSpace
    data: DataConfig
    training: WeightTraining
    seed: int
    """Seed of the order of the training images, whose batches give the normalisation statistics."""
    num_threads: int | None
    """CPU threads of torch; None: the cores of the node are shared by `num_workers` actors."""
    num_workers: int
    """Number of actors that share the candidates."""
    use_gpu: bool = False
    """Whether each actor has one GPU."""
    recalibration_images: int = RECALIBRATION_IMAGES
    """Number of training images, at most, for batch-normalisation statistics."""


class CandidateEvaluator:
    """Holds the supernet and the images, and evaluates one architecture after the other; it runs as a Ray actor."""

    def __init__(self, job: CandidateJob) -> None:
        device = torch.device("cuda" if job.use_gpu else "cpu")
        if not job.use_gpu:
            torch.set_num_threads(job.num_threads or max(1, (os.cpu_count() or 1) // job.num_workers))
        self._device, self._splits = device, load_splits(job.data)
        self._batch_size, self._seed = job.training.batch_size, job.seed
        self._recalibration_batches = max(1, job.recalibration_images // self._batch_size)
        supernet = load_supernet(job.run_path, job.space, job.training.norm_batch_size)
        self._supernet = supernet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._training, self._validation = self._stream("train"), self._stream("validation")
        self._parts: dict[str, PriorPart] = {}

    def evaluate(self, architecture: Architecture) -> Score:
        """Return the score of an architecture on all validation images."""
        losses_N, hits_N = image_scores(self._subnet(architecture), self._validation.all_batches())
        return Score(float(losses_N.mean()), float(hits_N.mean()), part_means(losses_N))

    def prior(self, names: Sequence[str], architectures: Sequence[Architecture]) -> list[list[float]]:
        """Return what each part of a prior gives each architecture, (P, N)."""
        missing = [name for name in names if name not in self._parts]
        made = make_parts(missing, self._supernet.network_space, str(self._device))
        self._parts.update(zip(missing, made, strict=True))
        rows_ND = np.array(architectures, dtype=np.int64)
        return [self._parts[name](rows_ND).tolist() for name in names]

    def finish(self, architecture: Architecture, folders: Sequence[str]) -> float:
        """Save the weights of a chosen network into folders, and return its accuracy on all test images."""
        subnet = self._subnet(architecture)
        buffer = io.BytesIO()
        torch.save(subnet.state_dict(), buffer)
        for folder in folders:
            make_folder(folder)
            write_atomic(resolve(folder).join(WEIGHTS_FILE), buffer.getvalue())
        _, hits_N = image_scores(subnet, self._stream("test").all_batches())
        return float(hits_N.mean())

    def _subnet(self, architecture: Architecture) -> nn.Module:
        """The network with the supernet's weights and its own normalisation statistics."""
        subnet = extract_subnet(self._supernet, architecture)
        subnet.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        num_batches = min(self._training.batches_per_epoch, self._recalibration_batches)
        recalibrate_batch_norm(subnet, (self._training.batch(step)[0] for step in range(num_batches)))
        return subnet

    def _stream(self, split: str) -> Batches:
        """Batches of a whole split in one shuffled order, without augmentation."""
        images = getattr(self._splits, split)
        return open_stream(
            images,
            batch_size=min(self._batch_size, len(images)),
            seed=self._seed,
            shuffle=True,
            augment=None,
            mean=self._splits.mean,
            std=self._splits.std,
            device=self._device,
            norm_batch_size=1,
        )


class EvaluatorGroup:
    """Actors that share the candidates. Ray must be running. Use it as a context manager, which ends the actors.

    Args:
        job: what the actors need.
        cpus_per_worker: logical CPUs that each actor asks Ray for.
    """

    def __init__(self, job: CandidateJob, cpus_per_worker: float) -> None:
        actor = ray.remote(CandidateEvaluator).options(
            num_cpus=cpus_per_worker,
            num_gpus=1 if job.use_gpu else 0,
            max_restarts=MAX_RETRIES,
            max_task_retries=MAX_RETRIES,
        )
        self._actors: list[Any] = [actor.remote(job) for _ in range(job.num_workers)]
        self._pool = ActorPool(self._actors)

    def __enter__(self) -> EvaluatorGroup:
        return self

    def __exit__(self, *exception: object) -> None:
        for actor in self._actors:
            ray.kill(actor)

    def evaluate(self, architectures: Sequence[Architecture]) -> Iterator[Score]:
        """Evaluate architectures; yields the score of each on all validation images, in their order.

        Raises:
            RunError: an evaluation failed; the message says why.
        """
        return self._map(lambda actor, architecture: actor.evaluate.remote(architecture), architectures)

    def prior(self, names: Sequence[str], architectures: Sequence[Architecture]) -> Iterator[list[list[float]]]:
        """Give architectures their prior, PRIOR_PART of them at a time; yields (P, N) figures of each such part.

        Raises:
            RunError: as `evaluate`.
        """
        work = [architectures[start : start + PRIOR_PART] for start in range(0, len(architectures), PRIOR_PART)]
        return self._map(lambda actor, part: actor.prior.remote(names, part), work)

    def finish(self, work: Sequence[tuple[Architecture, Sequence[str]]]) -> Iterator[float]:
        """Save chosen networks into their folders; yields the accuracy of each on all test images.

        Raises:
            RunError: a network could not be saved or tested; the message says why.
        """
        return self._map(lambda actor, each: actor.finish.remote(*each), work)

    def _map(self, call: Callable[[Any, Any], Any], work: Sequence[Any]) -> Iterator[Any]:
        try:
            yield from self._pool.map(call, list(work))
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [repr(error)]
            raise RunError(
                f"a candidate could not be evaluated ({lines[-1]}): remove the cause and try again"
            ) from error
