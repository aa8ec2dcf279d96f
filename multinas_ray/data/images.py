"""Sets of images in memory, and their stratified division."""

# n images, H height, W width, C channels

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from multinas_ray.data.config import DataConfig
from multinas_ray.data.left_out import LeftOut
from multinas_ray.data.samples import SampleSet
from multinas_ray.data.streamed_images import StreamedImages
from multinas_ray.errors import ConfigError, DataError
from multinas_ray.settings import checked
from multinas_ray.spaces import Structure

SPLITS = ("train", "validation", "test")
"""Names of the three sets of a run."""


@runtime_checkable
class Labelled(Protocol):
    """Labelled images, decoded or not, from which some can be selected."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(n,) class of each image, from 0."""

    def __len__(self) -> int: ...

    def select(self: "LabelledT", index: npt.NDArray[np.int64]) -> "LabelledT":
        """Return the images at `index`, in its order."""

    def join(self: "LabelledT", other: "LabelledT") -> "LabelledT":
        """Return these images, then the others of the same source."""


LabelledT = TypeVar("LabelledT", bound=Labelled)


@checked
@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images of one size, in memory.

    Raises:
        DataError: The arrays do not have this form, or their lengths differ.
    """

    images: npt.NDArray[np.uint8]
    """(n, H, W, C) pixels, 0..255."""

    labels: npt.NDArray[np.int64]
    """(n,) class of each image, from 0."""

    def __post_init__(self) -> None:
        """Check the form and the lengths of the arrays."""
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(
                f"images must be uint8 of shape (n, H, W, C), got {self.images.dtype} of {self.images.shape}"
            )
        if self.labels.ndim != 1 or self.labels.dtype != np.int64:
            raise DataError(f"labels must be int64 (n,), got {self.labels.dtype} of {self.labels.shape}")
        if len(self.images) != len(self.labels):
            raise DataError(
                f"there must be a label for each image, got {len(self.images)} images and {len(self.labels)} labels: "
                "check the source"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, index: npt.NDArray[np.int64]) -> "ImageSet":
        """Return a copy with the images at `index`, in its order."""
        return ImageSet(np.ascontiguousarray(self.images[index]), self.labels[index])

    def join(self, other: "ImageSet") -> "ImageSet":
        """Return a copy with these images, then the others."""
        return ImageSet(np.concatenate([self.images, other.images]), np.concatenate([self.labels, other.labels]))


Images = ImageSet | StreamedImages | SampleSet
"""Images in memory, images that are read and decoded when they are needed, or samples of any kind; `open_stream` opens
all."""


@checked
@dataclass(frozen=True, eq=False)
class DataSplits:
    """The three disjoint sets of a run and what a network needs to know about them.

    Samples that are no images have neither mean, std, class names nor a shape.
    """

    train: Images
    """Images on which weights are trained."""

    validation: Images
    """Images on which architectures are judged."""

    test: Images
    """Images that are used only at the end."""

    mean: tuple[float, ...] = ()
    """(C,) mean of the training pixels per channel, with pixels scaled to 0..1; ImageNet's if images stay encoded."""

    std: tuple[float, ...] = ()
    """(C,) standard deviation of the same."""

    class_names: tuple[str, ...] = ()
    """Name of each label; of samples that are no images none are known."""

    image_shape: tuple[int, int, int] | None = None
    """(C, H, W); None for samples that are no images."""

    skipped_files: tuple[str, ...] = ()
    """Files that could not be decoded and are in none of the sets; not known in advance if images stay encoded."""

    left_out: tuple[LeftOut, ...] = ()
    """Files of the source that are in none of the sets, with the damaged ones, by split, class and reason."""

    notes: tuple[str, ...] = ()
    """What a user should know about how the images are read, a line each."""

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 where they have no names."""
        return len(self.class_names)

    @property
    def image_size(self) -> int | None:
        """Height of the images; None for samples that are no images."""
        return None if self.image_shape is None else self.image_shape[1]

    @cached_property
    def inputs(self) -> Structure:
        """The structure of what a network takes for a sample."""
        if isinstance(self.train, SampleSet):
            return self.train.inputs
        return f"float32{list(self.image_shape or ())}"


def stratified_choice(
    labels: npt.NDArray[np.int64], num_chosen: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Choose images so that each class keeps its share.

    Class counts are rounded by largest remainder (the lower label first in a tie), so that exactly
    `num_chosen` come back.

    Args:
        labels: (n,) class of each image.
        num_chosen: Number of images to choose, 0..n.
        rng: Generator of the choice; classes draw from it in rising order.

    Returns:
        (num_chosen,) rising positions in `labels`.
    """
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * (num_chosen / len(labels))
    quota = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(-(exact - quota), kind="stable")
    quota[by_remainder[: num_chosen - int(quota.sum())]] += 1
    chosen = [
        rng.permutation(np.flatnonzero(labels == one_class))[:count]
        for one_class, count in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def divide(image_set: LabelledT, fraction: float, rng: np.random.Generator) -> tuple[LabelledT, LabelledT]:
    """Divide a set in two, stratified by class.

    Args:
        image_set: The images to divide.
        fraction: Share of the second part, above 0 and below 1.
        rng: Generator of the choice.

    Returns:
        The rest, then the part of size `fraction`; both keep the order of the original.

    Raises:
        DataError: One of the parts would be empty.
    """
    num_chosen = round(len(image_set) * fraction)
    if not 0 < num_chosen < len(image_set):
        raise DataError(
            f"both parts of a division must have images, got {len(image_set)} images and a fraction of {fraction}: "
            "use more images or a fraction nearer 0.5"
        )
    chosen = stratified_choice(image_set.labels, num_chosen, rng)
    is_chosen = np.zeros(len(image_set), dtype=bool)
    is_chosen[chosen] = True
    return image_set.select(np.flatnonzero(~is_chosen)), image_set.select(chosen)


def limit_training(training: LabelledT, config: DataConfig, num_classes: int) -> LabelledT:
    """Keep `config.max_train_images` training images, the same share of each class.

    Raises:
        ConfigError: That leaves fewer than two images per class.
    """
    if config.max_train_images is None or config.max_train_images >= len(training):
        return training
    if config.max_train_images < 2 * num_classes:
        raise ConfigError(
            f"max_train_images must be at least {2 * num_classes} here, two for each of "
            f"{num_classes} classes, got {config.max_train_images}"
        )
    rng = np.random.default_rng((config.split_seed, 1))
    return training.select(stratified_choice(training.labels, config.max_train_images, rng))


def divide_training(training: LabelledT, config: DataConfig) -> tuple[LabelledT, LabelledT]:
    """Divide a source's training images into those for the weights and those for judging architectures.

    Raises:
        DataError: One of the parts would be empty.
    """
    return divide(training, config.validation_fraction, np.random.default_rng((config.split_seed, 0)))


def channel_statistics(images: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Exact mean and standard deviation per channel, from each channel's histogram of 256 values.

    Args:
        images: (n, H, W, C) pixels.

    Returns:
        The means and the standard deviations, each (C,), of pixels scaled to 0..1.

    Raises:
        DataError: A channel is constant, so it cannot be normalised.
    """
    values = np.arange(256) / 255.0
    means, stds = [], []
    for channel in range(images.shape[3]):
        share = np.bincount(images[..., channel].ravel(), minlength=256) / images[..., channel].size
        mean = float(share @ values)
        means.append(mean)
        stds.append(float(np.sqrt(share @ (values - mean) ** 2)))
    if min(stds) == 0:
        raise DataError(
            f"channel {stds.index(0)} has the same value in every training image and cannot be normalised: "
            "check the images"
        )
    return tuple(means), tuple(stds)
