"""Settings of the training of a supernet's weights. Without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt

from multinas_ray.errors import ConfigError
from multinas_ray.settings import Fraction, InfinityAllowed, PositiveFloat, PositiveInt, checked


@checked
@dataclass(frozen=True, kw_only=True)
class WeightTraining:
    """How the supernet's weights are trained: SGD with momentum and a cosine learning rate.

    Raises:
        ConfigError: A setting breaks a rule; the message says which, and what to set instead.
    """

    batch_size: PositiveInt = 256
    """Images of one weight step, over all workers."""
    validation_batch_size: PositiveInt = 256
    """Images on which a round's subnets are compared, over all workers. While the weights train, each round takes the
    next batch; with weights first all rounds have the same."""
    norm_batch_size: PositiveInt = 64
    """Images that share batch-normalisation statistics. The number is fixed, so that results do not depend on the
    number of workers."""
    learning_rate: PositiveFloat = 0.1
    """Peak learning rate, which is reached after the rise and then lowered to 0 along a half cosine."""
    learning_rate_rise: Fraction = 0.02
    """Share of the weight steps over which the learning rate rises linearly from 0."""
    momentum: Fraction = 0.9
    """Nesterov momentum of SGD."""
    weight_decay: Fraction = 4e-5
    """L2 penalty on convolution and linear weights; there is none on biases and batch normalisation."""
    gradient_clip_norm: Annotated[float, InfinityAllowed(), Gt(0)] = 5.0
    """Largest norm of the gradient of all touched parameters; larger gradients are scaled down. inf: no clipping."""
    label_smoothing: Fraction = 0.0
    """Share of the target that is spread over all classes in the training loss."""
    rule: Literal["drawn", "sandwich"] = "drawn"
    """Which subnets a weight step trains, and towards what. "drawn": those that are drawn, towards the targets.
    "sandwich": the largest subnet towards the targets, and the smallest and those that are drawn towards what the
    largest gives, for networks that shall be used with inherited weights (Yu and Huang, Universally Slimmable Networks,
    ICCV 2019; Yu et al., BigNAS, ECCV 2020). A step then trains two more subnets. It is for choices of widths and
    depths, whose networks lie within each other."""
    augment: bool = True
    """Vary training images by random crops (and flips if the data allows them)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """"float32", or "bfloat16" for autocast in forward and backward."""
    activation_bytes_limit: PositiveInt | None = None
    """Bytes of activations that one group of a round's subnets may keep for the backward pass. None: on a GPU as much
    as fits into its free memory; on a CPU the round is one group."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "validation_batch_size"):
            if getattr(self, name) % self.norm_batch_size:
                raise ConfigError(
                    f"{name} must be a multiple of norm_batch_size={self.norm_batch_size}, got {getattr(self, name)}"
                )

    @property
    def added_subnets(self) -> int:
        """Subnets that a weight step trains beside those that are drawn: the ends of the sandwich."""
        return 2 if self.rule == "sandwich" else 0

    def largest_shard(self, batch_size: int, num_workers: int) -> int:
        """Images of the largest shard of a batch, which workers share by whole normalisation groups."""
        return -(-batch_size // (self.norm_batch_size * num_workers)) * self.norm_batch_size

    def largest_pass(self, flops: float, num_workers: int) -> float:
        """Multiply-adds of the largest pass of a worker, of networks of at most `flops` multiply-adds an image."""
        return flops * self.largest_shard(max(self.batch_size, self.validation_batch_size), num_workers)

    def check_num_workers(self, num_workers: int) -> None:
        """Raise ConfigError unless every worker's shard of both batches has at least one norm group."""
        for name in ("batch_size", "validation_batch_size"):
            groups = getattr(self, name) // self.norm_batch_size
            if groups < num_workers:
                raise ConfigError(
                    f"{name}={getattr(self, name)} is {groups} groups of norm_batch_size={self.norm_batch_size}, fewer "
                    f"than num_workers={num_workers}: set {name} to at least {self.norm_batch_size * num_workers}"
                )

    def learning_rate_at(self, step: int, num_steps: int) -> float:
        """Learning rate of weight step number `step` of `num_steps`."""
        rise = self.learning_rate_rise * num_steps
        if step < rise:
            return self.learning_rate * (step + 1) / (rise + 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, num_steps - rise)))
