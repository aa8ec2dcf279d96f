"""The recipe by which the chosen networks are trained, and the resources it uses. It does not import torch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from multinas_ray.errors import ConfigError
from multinas_ray.retraining.losses import TrainingLoss, loss_class
from multinas_ray.settings import (
    Fraction,
    InfinityAllowed,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    checked,
    to_plain,
)

if TYPE_CHECKING:
    from multinas_ray.tasks import Task

REFERENCE_BATCH_SIZE = 256
"""Number of images of the batch for which `learning_rate` is given."""

LEAST_STEPS_OF_EPOCH = 8
"""Training steps of an epoch for which the batch is made small enough, if it is not given. [ours]"""

MACHINE_FIELDS = (
    "num_workers",
    "use_gpu",
    "deterministic",
    "cpus_per_worker",
    "threads_per_worker",
    "max_failures",
    "checkpoint_interval_seconds",
)
"""Fields that do not change the result, but where and how safely a network is trained."""


@checked
@dataclass(frozen=True, kw_only=True)
class RetrainConfig:
    """The recipe for each chosen network: SGD with Nesterov momentum, warm-up and cosine decay.

    The defaults are those of He et al., Bag of Tricks for Image Classification (CVPR 2019, arXiv 1812.01187), unless a
    field names another source.

    Raises:
        ConfigError: a setting breaks a rule; the message says what to set instead.
    """

    epochs: PositiveInt = 200
    """Passes over the training images. DeVries & Taylor (arXiv 1708.04552) use 200 for CIFAR-10; for ImageNet 120 to
    300 are customary."""
    batch_size: PositiveInt | None = None
    """Images of one training step, over all workers of a network. None: 256, or with fewer than 2,048 training images
    the largest power of two that is at most an eighth of them. [ours]"""
    learning_rate: PositiveFloat = 0.1
    """Peak learning rate for a batch of 256 images."""
    learning_rate_scaling: Literal["linear", "none"] = "linear"
    """How the peak depends on the batch. "linear": it is learning_rate * batch_size / 256 (Goyal et al., arXiv
    1706.02677). "none": it is learning_rate."""
    warmup_epochs: float | None = None
    """Epochs in which the learning rate rises linearly from near 0 to its peak; fewer than `epochs`. Then it falls to 0
    along a half cosine (Loshchilov & Hutter, arXiv 1608.03983). None: 5 as in Goyal et al., or a tenth of the epochs if
    there are fewer than 50."""
    momentum: Fraction = 0.9
    """Nesterov momentum of SGD, in [0, 1)."""
    weight_decay: Fraction = 1e-4
    """L2 penalty on the weights of convolutions and linear layers, but not on biases and batch normalisation."""
    label_smoothing: Fraction = 0.1
    """Share of the label that the training loss spreads over all classes, in [0, 1); of classification alone."""
    loss: str = "task"
    """Kind of the training loss: "task", that of the search; "distillation"; or your own, see `register_loss`."""
    loss_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Settings that only this kind of loss has, by name; see its class."""
    augmentation: Literal["none", "standard", "cutout", "randaugment"] = "cutout"
    """Random variation of the training images. "none"; "standard": random crops, and flips if the data allow them, as
    in the search; "cutout": standard and a square of zeros (DeVries & Taylor, arXiv 1708.04552), customary for small
    images; "randaugment": standard and RandAugment (Cubuk et al., arXiv 1909.13719), customary for large images.
    Samples that are no images are varied by their dataset alone."""
    cutout_fraction: float = 0.5
    """Side of cutout's square as a share of that of the image, above 0 and at most 1. The default is that of the paper
    for CIFAR-10, 16 of 32 pixels."""
    randaugment_ops: PositiveInt = 2
    """Number of operations that RandAugment applies to each image; the default is that of the paper for ImageNet."""
    randaugment_magnitude: Annotated[int, Ge(0), Le(30)] = 9
    """Strength of RandAugment's operations, 0 to 30; the default is that of the paper for ImageNet."""
    mixup_alpha: NonNegativeFloat = 0.0
    """Mixup (Zhang et al., arXiv 1710.09412): each image is mixed with another one of its batch, and so are their
    losses, with shares from a Beta(alpha, alpha) distribution; 0.2 is customary for ImageNet. 0: no mixup. Of
    classified images alone."""
    cutmix_alpha: NonNegativeFloat = 0.0
    """CutMix (Yun et al., arXiv 1905.04899): a rectangle of each image comes from another one, with a share of its area
    from a Beta(alpha, alpha) distribution; 1 in the paper. 0: no CutMix. With both, each batch takes one of them at
    random. Of classified images alone."""
    accumulated_passes: PositiveInt = 1
    """Passes in which a worker takes its share of a batch, one after the other, where it has too little memory for all
    at once. Their gradients are summed before the weights change; batch normalisation sees the images of one pass."""
    ema_decay: Fraction = 0.9999
    """Decay of the moving average of the weights. The averaged weights are kept and tested; 0: no average, the last
    weights are kept. The default is that of Tan & Le, EfficientNet (ICML 2019)."""
    ema_warmup_power: PositiveFloat = 0.75
    """Power of the warm-up of the average. The decay at step t is min(ema_decay, 1 - t ** -power), so that short
    trainings average less. This is timm's warm-up, which recommends 0.75 below a million steps."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the computation. "float32"; "bfloat16": by autocast; "float16": by autocast with losses scaled
    so that small gradients are kept (Micikevicius et al., arXiv 1710.03740); "auto": float32 on CPUs, and on GPUs
    bfloat16, or float16 where a GPU has no bfloat16."""
    gradient_clip_norm: Annotated[float, InfinityAllowed(), Gt(0)] = 5.0
    """Largest norm of the gradient; larger gradients are scaled down to it (5 as in DARTS, arXiv 1806.09055). inf: no
    clipping."""
    init: Literal["scratch", "supernet"] = "scratch"
    """First weights. "scratch": fresh ones, so that the accuracy can be compared with published ones; "supernet": those
    that the network had in the supernet."""
    train_on: Literal["all", "train"] = "all"
    """Images to train on. "all": training and validation images, since validation is not used for choices any more;
    "train": training images only, so that every epoch has a validation loss, which chooses nothing."""
    seed: NonNegativeInt = 0
    """Seed of the fresh weights and of the order and augmentation of the images."""

    num_workers: PositiveInt = 1
    """Number of workers of each network; they share its batches."""
    use_gpu: bool = False
    """Whether each worker has one GPU."""
    deterministic: bool = False
    """Compute the same from the same on a GPU too, by slower algorithms. An operation that has none, such as one of
    your own model, ends the run with an error that names it."""
    cpus_per_worker: PositiveFloat = 1.0
    """Logical CPUs that each worker asks Ray for."""
    threads_per_worker: PositiveInt | None = None
    """CPU threads of each worker; None: as many as the CPUs that it asks for, at least 1."""
    max_failures: Annotated[int, Ge(-1)] = 3
    """How often the training of a network may be started again from its checkpoint after its worker has died; -1:
    without limit."""
    checkpoint_interval_seconds: NonNegativeFloat = 60.0
    """Least time between checkpoints, which are saved at the end of an epoch; 0: after every epoch. A checkpoint is
    saved within an epoch only if the cloud announces that it will take the node back."""

    def __post_init__(self) -> None:
        if not 0 < self.cutout_fraction <= 1:
            raise ConfigError(
                f"cutout_fraction must be above 0 and at most 1, got {self.cutout_fraction}: "
                'for no cutout set augmentation="standard"'
            )
        _ = self.training_loss
        if not 0 <= self.rise_epochs < self.epochs:
            raise ConfigError(
                f"warmup_epochs must be at least 0 and below epochs={self.epochs}, got {self.warmup_epochs}: "
                "leave it out, or train longer"
            )
        if self.step_images % self.num_workers:
            raise ConfigError(
                f"batch_size must be a multiple of num_workers={self.num_workers}, got {self.step_images}: set it to "
                f"{-(-self.step_images // self.num_workers) * self.num_workers}"
            )
        if self.step_images // self.num_workers < 2:
            raise ConfigError(
                f"batch_size must be at least 2 images for each of num_workers={self.num_workers}, since batch "
                f"normalisation needs them, got {self.step_images}: use a larger batch_size"
            )
        self._check_passes()

    def check_task(self, task: Task) -> None:
        """Check that the recipe suits a task.

        Raises:
            ConfigError: images are to be mixed, and the task is not their classification.
        """
        if (self.mixup_alpha or self.cutmix_alpha) and not task.is_classification:
            raise ConfigError(
                f"mixup_alpha and cutmix_alpha are for classified images, got {self.mixup_alpha} and "
                f"{self.cutmix_alpha} with the loss {task.loss}: leave them out"
            )

    def _check_passes(self) -> None:
        share, passes = self.step_images // self.num_workers, self.accumulated_passes
        if self.batch_size is not None and (share % passes or share // passes < 2):
            raise ConfigError(
                f"accumulated_passes must cut the {share} images of a worker into equal passes of at least 2 images, "
                f"got {passes}: choose a divisor of {share}"
            )

    @cached_property
    def training_loss(self) -> TrainingLoss:
        """The training loss with its settings."""
        kind = loss_class(self.loss)
        fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # losses are dataclasses
        shared = {"label_smoothing": self.label_smoothing} if any(f.name == "label_smoothing" for f in fields) else {}
        return kind(**{**shared, **self.loss_options})

    @property
    def step_images(self) -> int:
        """Images of one training step; 256 as long as the number of training images is not known."""
        return self._fitting(REFERENCE_BATCH_SIZE) if self.batch_size is None else self.batch_size

    def sized_for(self, num_images: int) -> RetrainConfig:
        """The recipe with the batch size that it has for so many training images."""
        if self.batch_size is not None:
            return self
        size = REFERENCE_BATCH_SIZE
        while size > 2 and size * LEAST_STEPS_OF_EPOCH > num_images:
            size //= 2
        return dataclasses.replace(self, batch_size=self._fitting(size))

    def _fitting(self, size: int) -> int:
        passes = self.accumulated_passes
        return max(2, size // self.num_workers // passes) * passes * self.num_workers

    @property
    def peak_learning_rate(self) -> float:
        """The largest learning rate of the training, for the whole batch."""
        if self.learning_rate_scaling == "none":
            return self.learning_rate
        return self.learning_rate * self.step_images / REFERENCE_BATCH_SIZE

    @property
    def rise_epochs(self) -> float:
        """Number of epochs of the warm-up."""
        return min(5.0, self.epochs / 10) if self.warmup_epochs is None else self.warmup_epochs

    @property
    def num_threads(self) -> int:
        """CPU threads of each worker."""
        return self.threads_per_worker or max(1, int(self.cpus_per_worker))

    def identity(self) -> dict[str, Any]:
        """The settings that decide the trained weights, as plain data: all fields but MACHINE_FIELDS."""
        return {name: value for name, value in to_plain(self).items() if name not in MACHINE_FIELDS}
