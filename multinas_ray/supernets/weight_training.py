"""Settings of the training of a supernet's weights. No torch."""

from __future__ import annotations

import math
from dataclasses import dataclass

from multinas_ray.errors import ConfigError

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class WeightTraining:
    """How the supernet's weights are trained: SGD with momentum and a cosine learning rate."""

    batch_size: int = 256
    """Images of one weight step, over all workers."""
    validation_batch_size: int = 256
    """Images on which a round's subnets are compared, over all workers; each round takes the next batch."""
    norm_batch_size: int = 64
    """Images that share batch-normalisation statistics; fixed, so results do not depend on the number of workers."""
    learning_rate: float = 0.1
    """Peak learning rate, reached after the rise and then brought to 0 on a half cosine."""
    learning_rate_rise: float = 0.02
    """Share of the weight steps over which the learning rate rises linearly from 0."""
    momentum: float = 0.9
    """Nesterov momentum of SGD."""
    weight_decay: float = 4e-5
    """L2 penalty on convolution and linear weights; none on biases and batch normalisation."""
    gradient_clip_norm: float = 5.0
    """Largest norm of the gradient of all touched parameters; larger ones are scaled down. inf: no clipping."""
    label_smoothing: float = 0.0
    """Share of the target spread over all classes in the training loss."""
    augment: bool = True
    """Random crops (and flips where the data allows them) of the training images."""
    precision: str = "float32"
    """"float32", or "bfloat16" for autocast in forward and backward."""
    activation_bytes_limit: int | None = None
    """Activations that one group of a round's subnets may keep for the backward pass; None: on a GPU what its free
    memory has room for, on a CPU the round is one group."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "validation_batch_size", "norm_batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("batch_size", "validation_batch_size"):
            if getattr(self, name) % self.norm_batch_size:
                raise ConfigError(
                    f"{name} must be a multiple of norm_batch_size={self.norm_batch_size}, got {getattr(self, name)}"
                )
        for name in ("learning_rate", "gradient_clip_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("learning_rate_rise", "momentum", "weight_decay", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.activation_bytes_limit is not None and self.activation_bytes_limit < 1:
            raise ConfigError(f"activation_bytes_limit must be positive or None, got {self.activation_bytes_limit}")

    def check_num_workers(self, num_workers: int) -> None:
        """Raise ConfigError unless every worker's shard of both batches holds a norm group or more."""
        for name in ("batch_size", "validation_batch_size"):
            groups = getattr(self, name) // self.norm_batch_size
            if groups < num_workers:
                raise ConfigError(
                    f"{name}={getattr(self, name)} is {groups} groups of norm_batch_size={self.norm_batch_size}, fewer "
                    f"than num_workers={num_workers}; set {name} to {self.norm_batch_size * num_workers} or more"
                )

    def learning_rate_at(self, step: int, num_steps: int) -> float:
        """Learning rate of weight step `step` of `num_steps`."""
        rise = self.learning_rate_rise * num_steps
        if step < rise:
            return self.learning_rate * (step + 1) / (rise + 1)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, num_steps - rise)))
