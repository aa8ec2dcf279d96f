"""The recipe by which the chosen networks are trained, and what it asks of the machine. No torch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from multinas_ray.errors import ConfigError
from multinas_ray.settings import (
    Fraction,
    InfinityAllowed,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    checked,
)

REFERENCE_BATCH_SIZE = 256
"""Images of the batch for which `learning_rate` is stated."""

MACHINE_FIELDS = (
    "num_workers",
    "use_gpu",
    "cpus_per_worker",
    "threads_per_worker",
    "max_failures",
    "checkpoint_interval_seconds",
)
"""Fields that say where and how safely a network is trained, not how."""


@checked
@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """How each chosen network is trained: SGD with Nesterov momentum, warm-up and cosine, each part a setting.

    The defaults are those of He et al., Bag of Tricks for Image Classification (CVPR 2019, arXiv 1812.01187), unless a
    field names another source.

    Raises:
        ConfigError: a setting breaks a rule; the message says which, and what to set instead.
    """

    epochs: PositiveInt = 200
    """Passes over the training images, at least 1. 200 as in DeVries & Taylor (arXiv 1708.04552) for CIFAR-10; ImageNet
    is customarily trained for 120 to 300."""
    batch_size: PositiveInt = 256
    """Images of one step, over all workers of a network."""
    learning_rate: PositiveFloat = 0.1
    """Peak learning rate for a batch of 256 images."""
    learning_rate_scaling: Literal["linear", "none"] = "linear"
    """"linear": the peak is learning_rate * batch_size / 256 (Goyal et al., arXiv 1706.02677). "none": as given."""
    warmup_epochs: float | None = None
    """Epochs over which the learning rate rises linearly from near 0 to its peak; below `epochs`. Then it falls to 0 on
    a half cosine (Loshchilov & Hutter, arXiv 1608.03983). None: 5 as in Goyal et al., or a tenth of fewer than 50."""
    momentum: Fraction = 0.9
    """Nesterov momentum of SGD, in [0, 1)."""
    weight_decay: Fraction = 1e-4
    """L2 penalty on convolution and linear weights; none on biases and batch normalisation."""
    label_smoothing: Fraction = 0.1
    """Share of the target spread over all classes in the training loss, in [0, 1)."""
    augmentation: Literal["none", "standard", "cutout", "randaugment"] = "cutout"
    """"none"; "standard": the random crops, and flips where the data allows them, of the search; "cutout": these and a
    square of zeros (DeVries & Taylor, arXiv 1708.04552), customary for small images; "randaugment": these and
    RandAugment (Cubuk et al., arXiv 1909.13719), customary for large ones."""
    cutout_fraction: float = 0.5
    """Side of cutout's square as a share of the image's, above 0 and at most 1. Half is the paper's 16 of 32 pixels for
    CIFAR-10."""
    randaugment_ops: PositiveInt = 2
    """Operations that RandAugment applies one after the other; the paper's choice for ImageNet."""
    randaugment_magnitude: Annotated[int, Ge(0), Le(30)] = 9
    """Their strength, 0 to 30; the paper's choice for ImageNet."""
    ema_decay: Fraction = 0.9999
    """Decay of the moving average of the weights, which is what is kept and tested; 0: no average, the last weights.
    0.9999 as in Tan & Le, EfficientNet (ICML 2019)."""
    ema_warmup_power: PositiveFloat = 0.75
    """The decay at step t is min(ema_decay, 1 - t ** -power), so that short trainings average less: timm's warm-up,
    which names 0.75 for trainings below a million steps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """"float32"; "bfloat16": autocast; "auto": bfloat16 on GPUs, float32 on CPUs."""
    gradient_clip_norm: Annotated[float, InfinityAllowed(), Gt(0)] = 5.0
    """Largest norm of the gradient; larger ones are scaled down (5 as in DARTS, arXiv 1806.09055). inf: no clipping."""
    init: Literal["scratch", "supernet"] = "scratch"
    """"scratch": fresh weights, so that accuracies are comparable with others'; "supernet": those it had there."""
    train_on: Literal["all", "train"] = "all"
    """"all": training and validation images, since nothing is chosen by validation any more; "train": training images
    alone, and the loss on the validation images is told each epoch (it still chooses nothing)."""
    seed: NonNegativeInt = 0
    """Decides fresh weights, order and augmentation of the images; at least 0."""

    num_workers: PositiveInt = 1
    """Workers of each network, which share its batches."""
    use_gpu: bool = False
    """One GPU for each worker."""
    cpus_per_worker: PositiveFloat = 1.0
    """CPUs that each worker asks Ray for."""
    threads_per_worker: PositiveInt | None = None
    """CPU threads of each worker; None: as many as the CPUs it asks for, at least 1."""
    max_failures: Annotated[int, Ge(-1)] = 3
    """Times a network's training is started again from its checkpoint after a death; -1 for no limit."""
    checkpoint_interval_seconds: NonNegativeFloat = 60.0
    """Least time between checkpoints, which are saved at the ends of epochs; 0: one each epoch. Where the cloud gives
    notice that it takes a node back, one is saved within the epoch too."""

    def __post_init__(self) -> None:
        if not 0 < self.cutout_fraction <= 1:
            raise ConfigError(
                f"cutout_fraction must be above 0 and at most 1, got {self.cutout_fraction}; "
                'for no cutout set augmentation="standard"'
            )
        if not 0 <= self.rise_epochs < self.epochs:
            raise ConfigError(
                f"warmup_epochs must be at least 0 and below epochs={self.epochs}, got {self.warmup_epochs}; "
                "leave it out, or train longer"
            )
        if self.batch_size % self.num_workers:
            raise ConfigError(
                f"batch_size={self.batch_size} cannot be shared equally by num_workers={self.num_workers}; set it to "
                f"{-(-self.batch_size // self.num_workers) * self.num_workers}"
            )
        if self.batch_size // self.num_workers < 2:
            raise ConfigError(
                f"batch normalisation needs at least 2 images on each worker; batch_size={self.batch_size} over "
                f"num_workers={self.num_workers} leaves {self.batch_size // self.num_workers}: use a larger batch_size"
            )

    @property
    def peak_learning_rate(self) -> float:
        """The largest learning rate of the training."""
        if self.learning_rate_scaling == "none":
            return self.learning_rate
        return self.learning_rate * self.batch_size / REFERENCE_BATCH_SIZE

    @property
    def rise_epochs(self) -> float:
        """Epochs of the warm-up."""
        return min(5.0, self.epochs / 10) if self.warmup_epochs is None else self.warmup_epochs

    @property
    def num_threads(self) -> int:
        """CPU threads of each worker."""
        return self.threads_per_worker or max(1, int(self.cpus_per_worker))

    def identity(self) -> dict[str, Any]:
        """What decides the trained weights, as plain data: all but where and how safely they are trained."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in MACHINE_FIELDS}
