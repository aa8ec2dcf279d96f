"""One round on one rank: a weight step, then the losses of subnets. It needs torch and no Ray."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from multinas_ray.data import Batches, DataSplits, open_stream, standard_augmentation
from multinas_ray.oneshot.job import WorkerJob
from multinas_ray.oneshot.memory_estimate import activation_limit
from multinas_ray.oneshot.messages import Round
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import IntArray, descend
from multinas_ray.supernets import (
    AUTOCAST_DTYPES,
    Supernet,
    accumulate_gradients,
    accumulate_sandwich_gradients,
    evaluate,
    make_supernet,
    step_touched,
)
from multinas_ray.tasks import Scorer

BUCKET_ELEMENTS = 8 * 2**20
"""Number of gradients in one all-reduce: large enough for the bandwidth, small enough that several overlap."""


class Traffic(NamedTuple):
    """Bytes that every rank contributed to the all-reduces of a round; see `RoundResult`."""

    reduced_bytes: int = 0
    saved_bytes: int = 0


class RoundWorker:
    """Holds the supernet, its optimiser and the batches of one rank, and computes rounds.

    The result of a round depends on its message, its number and the weights only. Batches and learning rate are
    functions of the number, so no position in the data has to be saved.

    Args:
        job: the settings of the run.
        splits: the samples.
        device: where this rank computes.
        rank: this rank, from 0.
        world_size: number of ranks, each of which takes its shard of both batches.
    """

    @checked_arguments
    def __init__(
        self, job: WorkerJob, splits: DataSplits, device: torch.device, rank: int = 0, world_size: int = 1
    ) -> None:
        self.job, self.splits, self.device = job, splits, device
        self.rank, self.world_size = rank, world_size
        training = job.training
        self.scorer = Scorer(job.task)
        self.supernet = make_supernet(job.space, training.norm_batch_size, job.seed)
        self.supernet.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no type of memory_format alone
        self.sgd = _sgd(self.supernet, job)
        self._supernet_bytes = sum(parameter.nbytes for parameter in self.supernet.parameters())
        self._touched: list[nn.Parameter] = []
        """The parameters with gradients."""
        self.traffic = Traffic()
        """The traffic of the last round."""
        self.activation_bytes_limit = activation_limit(job.space, training, world_size, device)
        self.autocast_dtype = AUTOCAST_DTYPES[training.precision]
        self.training_batches = self.stream("train", training.batch_size, augmented=training.augment)
        self.validation_batches = self.stream("validation", training.validation_batch_size, augmented=False)

    def stream(self, split: str, batch_size: int, *, augmented: bool) -> Batches:
        """Return the shuffled batches of a split, of which this rank gets its shard."""
        return open_stream(
            getattr(self.splits, split),
            batch_size=batch_size,
            seed=self.job.seed,
            shuffle=True,
            augment=standard_augmentation(self.job.data, self.splits.image_size) if augmented else None,
            mean=self.splits.mean,
            std=self.splits.std,
            device=self.device,
            rank=self.rank,
            world_size=self.world_size,
            norm_batch_size=self.job.training.norm_batch_size,
        )

    @property
    def damaged_images(self) -> tuple[str, ...]:
        """The fault of each image that this rank could not decode."""
        return (*self.training_batches.damaged_images, *self.validation_batches.damaged_images)

    def run(self, work: Round) -> torch.Tensor:
        """Compute one round.

        Returns:
            (1 + 2 N,) float32 on the device, averaged over ranks: the training loss (NaN without a weight step), the N
            validation losses and the N values of the primary metric. This function does not wait for the device.
        """
        self.traffic = Traffic()
        parts = [torch.full((1,), torch.nan, device=self.device)]
        if work.train_architectures is not None:
            parts = [self._weight_step(work).float().reshape(1) * _share(self.training_batches)]
        sums_NS: torch.Tensor | None = None
        if work.architectures is not None:
            inputs, targets = self.validation_batches.batch(self._validation_step(work.number))
            losses_N, sums_NS = evaluate(
                self.supernet, inputs, targets, work.architectures, self.scorer, autocast_dtype=self.autocast_dtype
            )
            parts += [losses_N.float() * _share(self.validation_batches), sums_NS.flatten()]
        packed = torch.cat([part.double() for part in parts])
        if self.world_size > 1:
            dist.all_reduce(packed)
        return packed.float() if sums_NS is None else self._with_metric(packed, len(sums_NS))

    def _with_metric(self, packed: torch.Tensor, num: int) -> torch.Tensor:
        """The result of a round, with the values of the primary metric in the place of its sums."""
        losses, sums = packed[: 1 + num], packed[1 + num :]
        (values_N,) = self.scorer.values(sums.view(num, -1), self.scorer.primary).values()
        return torch.cat([losses, values_N]).float()

    @cached_property
    def _ends_ND(self) -> IntArray:
        """The largest and the smallest subnet by multiply-adds, (2, D), found by local search."""
        space, cost = self.job.space, self.job.space.costs["flops"]
        counts = space.search_space.num_categories
        middle = [count // 2 for count in counts]
        largest = descend(middle, counts, lambda rows_ND: -cost(rows_ND))
        return np.stack([largest, descend(middle, counts, cost)])

    def _validation_step(self, round_number: int) -> int:
        """The number of a round's validation batch: with weights first the same for all rounds.

        Losses of one batch can be compared between rounds, so that samples are reused and a surrogate learns from all
        of them [ours].
        """
        return self.job.num_weight_steps if self.job.weights_first else round_number

    def _weight_step(self, work: Round) -> torch.Tensor:
        assert work.train_architectures is not None
        training, rows_ND = self.job.training, work.train_architectures
        seed = np.random.SeedSequence((self.job.seed, work.number, self.rank)).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(seed))  # for blocks that draw random numbers, such as dropout
        batch = self.training_batches.batch(work.number)
        settings: dict[str, Any] = {
            "autocast_dtype": self.autocast_dtype,
            "label_smoothing": training.label_smoothing,
        }
        for parameter in self._touched:
            parameter.grad = None
        if training.rule == "sandwich":
            rows_ND = np.concatenate([self._ends_ND, rows_ND])
        self._touched = touched = self.supernet.touched_parameters(rows_ND)
        if training.rule == "sandwich":
            loss = accumulate_sandwich_gradients(self.supernet, *batch, rows_ND, self.scorer, **settings)
        else:
            settings["limit_bytes"] = self.activation_bytes_limit
            loss = accumulate_gradients(self.supernet, *batch, rows_ND, self.scorer, **settings)
        if self.world_size > 1:
            reduced_bytes = average_gradients(touched, _share(self.training_batches))
            saved_bytes = self._supernet_bytes - reduced_bytes
            self.traffic = Traffic(reduced_bytes=reduced_bytes, saved_bytes=saved_bytes)
        nn.utils.clip_grad_norm_(touched, training.gradient_clip_norm)
        for group in self.sgd.param_groups:
            group["lr"] = training.learning_rate_at(work.number, self.job.num_weight_steps)
        step_touched(self.sgd, self.supernet, rows_ND)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return weights and optimiser state as tensors and plain data, for torch.load(weights_only=True)."""
        return {"supernet": self.supernet.state_dict(), "sgd": self.sgd.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the result of `state_dict`; missing or unknown entries raise."""
        self.supernet.load_state_dict(state["supernet"])
        self.sgd.load_state_dict(state["sgd"])


def _sgd(supernet: Supernet, job: WorkerJob) -> torch.optim.SGD:
    """SGD without weight decay on biases and normalisation, whose parameters have one dimension."""
    parameters = list(supernet.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": job.training.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    momentum = job.training.momentum
    return torch.optim.SGD(groups, lr=job.training.learning_rate, momentum=momentum, nesterov=momentum > 0)


def _share(batches: Batches) -> float:
    """The share of this rank in every batch, by which its mean counts in the mean of all ranks."""
    return batches.shard_size / batches.batch_size


def average_gradients(parameters: list[nn.Parameter], share: float) -> int:
    """Average the gradients of `parameters`, the same list on every rank, by asynchronous all-reduces of buckets.

    The gradient of a rank counts by its `share`; the shares of all ranks sum to 1.

    Parameters that no subnet of the round touches are neither sent nor stepped, which the fixed buckets of DDP cannot
    do.

    Returns:
        The bytes that this rank contributed to the all-reduces.
    """
    buckets: list[list[torch.Tensor]] = [[]]
    size = 0
    for parameter in parameters:
        assert parameter.grad is not None
        if size + parameter.numel() > BUCKET_ELEMENTS and buckets[-1]:
            buckets.append([])
            size = 0
        buckets[-1].append(parameter.grad)
        size += parameter.numel()
    flat = [torch.cat([gradient.reshape(-1) for gradient in bucket]).mul_(share) for bucket in buckets]
    pending = [dist.all_reduce(each, async_op=True) for each in flat]
    for bucket, each, work in zip(buckets, flat, pending, strict=True):
        work.wait()
        sizes = [gradient.numel() for gradient in bucket]
        for gradient, averaged in zip(bucket, torch.split(each, sizes), strict=True):
            gradient.copy_(averaged.view(gradient.shape))
    return sum(each.nbytes for each in flat)
