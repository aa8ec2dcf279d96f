"""The evaluation of candidates with the supernet's weights, by Ray actors.

The search compares subnets on one batch and normalises by the statistics of that batch. So does the first rung of
successive halving. In the others each candidate is a network of its own: it has its own batch-normalisation statistics
and, in the last rung, is evaluated on every validation image. The test images are used for chosen networks only.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import ray
import torch
from ray.util import ActorPool
from torch import nn

from multinas_ray.cluster import cause_of, check_software, own_error, software_versions, workers_on_a_node
from multinas_ray.data import Batches, DataConfig, cpu_threads, load_splits, num_samples, open_stream, shared_decoding
from multinas_ray.errors import RunError, exits_told
from multinas_ray.runs import WEIGHTS_FILE
from multinas_ray.selection.config import IMAGES_PER_PASS
from multinas_ray.selection.halving import FEW_BATCHES, RECALIBRATION_IMAGES, Rung, plan_rungs
from multinas_ray.selection.outcome import Architecture
from multinas_ray.selection.passes import Passes
from multinas_ray.selection.prior import PriorPart, make_parts
from multinas_ray.selection.scores import Score, part_means
from multinas_ray.settings import checked
from multinas_ray.spaces import FloatArray, Space
from multinas_ray.storage import make_folder, resolve, write_atomic
from multinas_ray.supernets import (
    AUTOCAST_DTYPES,
    Separate,
    Supernet,
    WeightTraining,
    compute_deterministically,
    evaluate,
    load_supernet,
    recalibrate_batch_norm,
    sample_scores,
)
from multinas_ray.tasks import Scorer, Task

MAX_RETRIES = 3
"""How often an actor whose process dies is started again and its evaluation repeated."""

SHARED_PART = 32
"""Architectures, at most, that an actor computes together; neighbours share the computation of equal beginnings."""
IMAGES_OF_PART = 250_000
"""About so many images pass through the networks of a part, so that progress is seen and an end loses little. [ours]"""
KEPT_BYTES = 512 * 2**20
"""Decoded images that an actor keeps, at most: all of the first two rungs at 224 pixels and batches of 256. [ours]"""


@checked
@dataclass(frozen=True, kw_only=True)
class CandidateJob:
    """What an actor needs to evaluate candidates."""

    run_path: str
    """Folder of the run, which holds supernet.pt."""
    space: Space
    data: DataConfig
    training: WeightTraining
    task: Task = field(default_factory=Task)
    seed: int
    """Seed of the order of the training images, whose batches give the normalisation statistics."""
    num_threads: int | None
    """CPU threads of torch; None: the actors of a node share its cores."""
    num_workers: int
    """Number of actors that share the candidates."""
    workers_per_node: int = 1
    """Most of them on one node; `EvaluatorGroup` finds it."""
    use_gpu: bool = False
    """Whether each actor has one GPU."""
    deterministic: bool = False
    """Whether the same is computed from the same on a GPU too."""
    images_per_pass: int = IMAGES_PER_PASS
    """Samples that pass through the networks together, at most."""
    recalibration_images: int = RECALIBRATION_IMAGES
    """Number of training images, at most, for batch-normalisation statistics."""
    versions: Mapping[str, str | None] = field(default_factory=software_versions)
    """Versions of the driver's software, which every worker's node must have."""


class CandidateEvaluator:
    """Holds the supernet and the images, and evaluates one architecture after the other; it runs as a Ray actor."""

    @exits_told()
    def __init__(self, job: CandidateJob) -> None:
        check_software(job.versions)
        if job.deterministic:
            compute_deterministically()
        device = torch.device("cuda" if job.use_gpu else "cpu")
        if not job.use_gpu:
            most = job.training.largest_pass(job.space.costs["flops"].maximum, num_workers=1)
            torch.set_num_threads(job.num_threads or cpu_threads(most, job.workers_per_node))
        self._device, self._splits = device, load_splits(job.data.shared_by(job.workers_per_node))
        self._decoding = shared_decoding(self._splits, device=device, kept_bytes=KEPT_BYTES)
        self._seed, self._scorer = job.seed, Scorer(job.task)
        supernet = load_supernet(job.run_path, job.space, job.training.norm_batch_size)
        self._supernet: Supernet = supernet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._training = self._stream("train", job.training.batch_size)
        self._validation = self._stream("validation", job.training.batch_size)
        wanted = max(1, job.recalibration_images // self._training.batch_size)
        self._recalibration_batches = min(self._training.batches_per_epoch, wanted)
        norm_batch_size, num_images = job.training.norm_batch_size, len(self._splits.validation)
        most = num_images // norm_batch_size * norm_batch_size
        self._validation_batch = min(job.training.validation_batch_size, most)
        self._comparing = self._stream("validation", self._validation_batch or num_images)
        self._parts: dict[str, PriorPart] = {}
        self._norm_batch_size, self._autocast_dtype = norm_batch_size, AUTOCAST_DTYPES[job.training.precision]
        self._passes = Passes(norm_batch_size, job.images_per_pass)

    @exits_told()
    def rungs(self, candidates: int) -> list[Rung]:
        """Plan the rungs of successive halving for so many candidates of a goal, see `plan_rungs`."""
        return plan_rungs(
            candidates,
            images=len(self._splits.validation),
            batch_images=self._validation_batch,
            recalibration_images=self._recalibration_batches * self._training.batch_size,
            few_recalibration_images=FEW_BATCHES * self._training.batch_size,
        )

    @exits_told()
    def evaluate(self, rung: Rung, architectures: Sequence[Architecture]) -> list[Score]:
        """Return the score of each architecture on the images of a rung, which are the same for all."""
        evaluate = self._evaluate_on_batch if rung.recalibration_images == 0 else self._evaluate_alone
        return self._passes.run(lambda: evaluate(rung, architectures))

    def _evaluate_on_batch(self, rung: Rung, architectures: Sequence[Architecture]) -> list[Score]:
        """Evaluate subnets as a search does: together, on one batch, with its statistics."""
        rows_ND = np.array(architectures, dtype=np.int64)
        loss_sums, metric_sums, number = [], [], 0
        for inputs, targets in self._passes.of(self._comparing.batches(range(1)), self._norm_batch_size):
            losses_N, own_NS = evaluate(
                self._supernet, inputs, targets, rows_ND, self._scorer, autocast_dtype=self._autocast_dtype
            )
            loss_sums.append(losses_N.double() * num_samples(targets))
            metric_sums.append(own_NS)
            number += num_samples(targets)
        losses_N = torch.stack(loss_sums).sum(0) / number
        (values_N,) = self._scorer.values(torch.stack(metric_sums).sum(0), self._scorer.primary).values()
        pairs = zip(losses_N.tolist(), values_N.tolist(), strict=True)
        return [Score(loss, value, images=number) for loss, value in pairs]

    def _evaluate_alone(self, rung: Rung, architectures: Sequence[Architecture]) -> list[Score]:
        """Evaluate networks, each with normalisation statistics of its own."""
        batches = self._validation.all_batches()
        if rung.images < len(self._splits.validation):
            batches = self._comparing.batches(range(max(1, rung.images // self._comparing.batch_size)))
        subnets = self._supernet.together(architectures)
        self._recalibrate(subnets, rung.recalibration_images)
        (primary,) = self._scorer.primary
        return [
            Score(float(losses.mean()), metrics[primary], part_means(losses), len(losses))
            for losses, metrics in zip(*self._sample_scores(subnets, batches), strict=True)
        ]

    @exits_told()
    def prior(self, names: Sequence[str], architectures: Sequence[Architecture]) -> list[list[float]]:
        """Return what each part of a prior gives each architecture, (P, N)."""
        missing = [name for name in names if name not in self._parts]
        made = make_parts(missing, self._supernet.space, str(self._device))
        self._parts.update(zip(missing, made, strict=True))
        rows_ND = np.array(architectures, dtype=np.int64)
        return [self._parts[name](rows_ND).tolist() for name in names]

    def finish(self, architecture: Architecture, folders: Sequence[str]) -> float:
        """Save the weights of a chosen network into folders, and return its primary metric on all test images."""
        return self._passes.run(lambda: self._finish(architecture, folders))

    def _finish(self, architecture: Architecture, folders: Sequence[str]) -> float:
        subnet = self._subnet(architecture, self._recalibration_batches * self._training.batch_size)
        buffer = io.BytesIO()
        torch.save(subnet.state_dict(), buffer)
        for folder in folders:
            make_folder(folder)
            write_atomic(resolve(folder).join(WEIGHTS_FILE), buffer.getvalue())
        batches = self._stream("test", self._training.batch_size).all_batches()
        (primary,) = self._scorer.primary
        return self._sample_scores(Separate([subnet]), batches)[1][0][primary]

    def _sample_scores(self, subnets: nn.Module, batches: Iterable[Any]) -> tuple[FloatArray, list[dict[str, float]]]:
        return sample_scores(subnets, self._passes.of(batches), self._scorer, autocast_dtype=self._autocast_dtype)

    def _subnet(self, architecture: Architecture, recalibration_images: int) -> nn.Module:
        """The network with the supernet's weights and its own normalisation statistics."""
        subnet = self._supernet.extract(architecture)
        subnet.to(memory_format=torch.channels_last)
        self._recalibrate(subnet, recalibration_images)
        return subnet

    def _recalibrate(self, subnet: nn.Module, images: int) -> None:
        """Give networks the normalisation statistics of so many training images."""
        steps = range(max(1, images // self._training.batch_size))
        inputs = self._passes.of(inputs for inputs, _ in self._training.batches(steps))
        recalibrate_batch_norm(subnet, inputs, autocast_dtype=self._autocast_dtype)

    def _stream(self, split: str, batch_size: int) -> Batches:
        """Batches of a split in one shuffled order, without augmentation."""
        images = getattr(self._splits, split)
        return open_stream(
            images,
            batch_size=min(batch_size, len(images)),
            seed=self._seed,
            shuffle=True,
            augment=None,
            decoding=self._decoding,
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
        sharing = workers_on_a_node(job.num_workers, cpus_per_worker=cpus_per_worker, use_gpu=job.use_gpu)
        job = replace(job, workers_per_node=sharing)
        self._actors: list[Any] = [actor.remote(job) for _ in range(job.num_workers)]
        self._pool = ActorPool(self._actors)

    def __enter__(self) -> EvaluatorGroup:
        return self

    def __exit__(self, *exception: object) -> None:
        for actor in self._actors:
            ray.kill(actor)

    def rungs(self, candidates: int) -> list[Rung]:
        """Plan the rungs of successive halving for so many candidates of a goal.

        Raises:
            RunError: the images cannot be read; the message says why.
        """
        (rungs,) = self._map(lambda actor, number: actor.rungs.remote(number), [candidates])
        return list(rungs)

    def evaluate(self, rung: Rung, architectures: Sequence[Architecture]) -> Iterator[list[Score]]:
        """Evaluate architectures in a rung, some at a time; yields the scores of each part, in their order.

        Raises:
            RunError: an evaluation failed; the message says why.
        """
        size = part_size(rung, len(architectures), len(self._actors))
        return self._map(lambda actor, part: actor.evaluate.remote(rung, part), _parts(architectures, size))

    def prior(self, names: Sequence[str], architectures: Sequence[Architecture]) -> Iterator[list[list[float]]]:
        """Give architectures their prior, some at a time; yields the (P, N) figures of each part, in their order.

        Raises:
            RunError: as `evaluate`.
        """
        return self._map(lambda actor, part: actor.prior.remote(names, part), _parts(architectures, SHARED_PART))

    def finish(self, work: Sequence[tuple[Architecture, Sequence[str]]]) -> Iterator[float]:
        """Save chosen networks into their folders; yields the primary metric of each on all test images.

        Raises:
            RunError: a network could not be saved or tested; the message says why.
        """
        return self._map(lambda actor, each: actor.finish.remote(*each), work)

    def _map(self, call: Callable[[Any, Any], Any], work: Sequence[Any]) -> Iterator[Any]:
        try:
            yield from self._pool.map(call, list(work))
        except ray.exceptions.RayError as error:
            if (own := own_error(error)) is not None:
                raise own from error
            raise RunError(
                f"a candidate could not be evaluated ({cause_of(error)}): remove the cause and try again"
            ) from error


def part_size(rung: Rung, networks: int, actors: int) -> int:
    """How many networks an actor evaluates together in a rung: all actors have work, and parts are not too long."""
    by_images = IMAGES_OF_PART // (rung.images + rung.recalibration_images)
    return max(1, min(SHARED_PART, by_images, math.ceil(networks / actors)))


def _parts(architectures: Sequence[Architecture], size: int) -> list[Sequence[Architecture]]:
    return [architectures[start : start + size] for start in range(0, len(architectures), size)]
