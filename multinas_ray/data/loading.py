"""Loading three disjoint image sets from the source that a `DataConfig` names."""

from multinas_ray.data.augmentation import Variation
from multinas_ray.data.config import DataConfig
from multinas_ray.data.images import DataSplits
from multinas_ray.data.sources import DataFacts
from multinas_ray.settings import checked_arguments


@checked_arguments
def load_splits(config: DataConfig) -> DataSplits:
    """Load the source and divide it into training, validation and test images.

    Raises:
        DataError: The source is missing, damaged or too small; the message names the file and the remedy.
        ConfigError: `image_size` or `max_train_images` does not fit the source.
    """
    return config.reader.load(config)


@checked_arguments
def inspect_data(config: DataConfig) -> DataFacts:
    """Determine size, channels, classes and splits of the images; only the headers of some files are read.

    Raises:
        DataError: The images cannot be used; the message says what is wrong and names the remedy.
        ConfigError: `max_train_images` leaves fewer than two images per class.
    """
    return config.reader.inspect(config)


@checked_arguments
def standard_augmentation(config: DataConfig, image_size: int | None = None) -> Variation | None:
    """Return the customary augmentation of a source; None for samples that are no images, which datasets vary.

    Images that stay encoded: a crop of random size and aspect ratio, and a flip.
    Photos: a crop from a border of 4 pixels at 32x32 (in proportion for other sizes, at least 1), and a flip.
    Digits: a border of 1 pixel and no flip, since a mirrored digit is a different character.

    Args:
        config: The source; `horizontal_flip=False` leaves the flip out.
        image_size: Height of the images, used if the config does not set one.
    """
    return config.reader.augmentation(config, image_size)
