"""Making the three sets of a run from a source's training and test images, decoded in memory."""

# n images, H height, W width, C channels

import numpy as np
import torch

from multinas_ray.data.config import DataConfig
from multinas_ray.data.images import DataSplits, ImageSet, channel_statistics, divide_training, limit_training
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments

_RESIZE_CHUNK = 4096


@checked_arguments
def splits_in_memory(
    config: DataConfig, training: ImageSet, test: ImageSet, class_names: tuple[str, ...]
) -> DataSplits:
    """Scale the images, and draw the validation images from the training images, stratified by class.

    The draw depends only on `config.split_seed`; no global random state is read or changed.

    Args:
        config: Size and splits.
        training: The source's training images, (n, H, W, C).
        test: Its test images, of the same size.
        class_names: Name of each label.

    Returns:
        The splits; mean and std are those of the training split.

    Raises:
        DataError: There are too few images.
        ConfigError: `image_size` or `max_train_images` does not fit the images.
    """
    if config.image_size is not None:
        training, test = _scale_down(training, config.image_size), _scale_down(test, config.image_size)
    training = limit_training(training, config, len(class_names))
    train, validation = divide_training(training, config)
    mean, std = channel_statistics(train.images)
    height, width, channels = train.images.shape[1:]
    return DataSplits(train, validation, test, mean, std, class_names, (channels, height, width))


def _scale_down(image_set: ImageSet, size: int) -> ImageSet:
    height, width = image_set.images.shape[1:3]
    if height != width:
        raise ConfigError(
            f"images must be square to be scaled by image_size, got {height}x{width}: leave image_size=None"
        )
    if size > height:
        raise ConfigError(f"image_size must be at most the images' own {height}, got {size}: lower it")
    if size == height:
        return image_set
    from torchvision.transforms.v2 import functional  # here, since it takes 3 seconds to load

    chunks = []
    for start in range(0, len(image_set), _RESIZE_CHUNK):
        chunk = torch.from_numpy(image_set.images[start : start + _RESIZE_CHUNK]).permute(0, 3, 1, 2)
        scaled = functional.resize(chunk, [size, size], antialias=True)
        chunks.append(scaled.permute(0, 2, 3, 1).numpy())
    return ImageSet(np.ascontiguousarray(np.concatenate(chunks)), image_set.labels)
