"""From a `DataConfig` to three disjoint image sets."""

import importlib
import importlib.util

import numpy as np
import torch
from torchvision.transforms.v2 import functional

from multinas_ray.data.cifar import load_cifar10
from multinas_ray.data.config import DataConfig
from multinas_ray.data.folder import load_folder, load_streamed
from multinas_ray.data.images import DataSplits, ImageSet, channel_statistics, divide, divide_training, limit_training
from multinas_ray.errors import ConfigError, DataError

_DIGITS_TEST_FRACTION, _DIGITS_TEST_SEED = 0.2, 0
_RESIZE_CHUNK = 4096


def load_splits(config: DataConfig) -> DataSplits:
    """Load the source and divide it into training, validation and test images.

    The validation images are drawn out of the source's training images, stratified by class, by
    `config.split_seed` alone; no global random state is read or changed.

    Args:
        config: Source and splits.

    Returns:
        The splits; mean and std are those of the training split.

    Raises:
        DataError: The source is missing, damaged or too small; the message names the file and the remedy.
        ConfigError: `image_size` or `max_train_images` does not fit the source.
    """
    if config.source == "folder":
        return load_folder(config) if config.in_memory else load_streamed(config)
    if config.source == "digits":
        training, test = _load_digits()
        class_names = tuple(str(digit) for digit in range(10))
    else:
        training, test, class_names = load_cifar10(str(config.path), download=config.download)
    if config.image_size is not None:
        training, test = _scale_down(training, config.image_size), _scale_down(test, config.image_size)
    training = limit_training(training, config, len(class_names))
    train, validation = divide_training(training, config)
    mean, std = channel_statistics(train.images)
    height, width, channels = train.images.shape[1:]
    return DataSplits(train, validation, test, mean, std, class_names, (channels, height, width))


def _load_digits() -> tuple[ImageSet, ImageSet]:
    """Load scikit-learn's digits; the test images are a fixed stratified fifth."""
    if importlib.util.find_spec("sklearn") is None:
        raise DataError(
            "the digits come inside scikit-learn, which is not installed: "
            'pip install "multinas-ray[demo]", or use source="cifar10"'
        )
    digits = importlib.import_module("sklearn.datasets").load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)[..., None]
    everything = ImageSet(images, digits.target.astype(np.int64))
    return divide(everything, _DIGITS_TEST_FRACTION, np.random.default_rng(_DIGITS_TEST_SEED))


def _scale_down(image_set: ImageSet, size: int) -> ImageSet:
    height, width = image_set.images.shape[1:3]
    if height != width:
        raise ConfigError(f"image_size needs square images, these are {height}x{width}: leave image_size=None")
    if size > height:
        raise ConfigError(f"image_size only scales down: {size} is above the images' own {height}")
    if size == height:
        return image_set
    chunks = []
    for start in range(0, len(image_set), _RESIZE_CHUNK):
        chunk = torch.from_numpy(image_set.images[start : start + _RESIZE_CHUNK]).permute(0, 3, 1, 2)
        scaled = functional.resize(chunk, [size, size], antialias=True)
        chunks.append(scaled.permute(0, 2, 3, 1).numpy())
    return ImageSet(np.ascontiguousarray(np.concatenate(chunks)), image_set.labels)
