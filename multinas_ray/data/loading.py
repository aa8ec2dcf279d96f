"""From a `DataConfig` to three disjoint image sets, by the source that it names."""

from multinas_ray.data.augmentation import Variation
from multinas_ray.data.config import DataConfig
from multinas_ray.data.images import DataSplits
from multinas_ray.data.sources import DataFacts


def load_splits(config: DataConfig) -> DataSplits:
    """Load the source and divide it into training, validation and test images.

    Raises:
        DataError: The source is missing, damaged or too small; the message names the file and the remedy.
        ConfigError: `image_size` or `max_train_images` does not fit the source.
    """
    return config.reader.load(config)


def inspect_data(config: DataConfig) -> DataFacts:
    """Find out size, channels, classes and splits of the images; of files only the headers of some are read.

    Raises:
        DataError: The images cannot be used; the message names what is wrong and the remedy.
        ConfigError: `max_train_images` leaves less than two images a class.
    """
    return config.reader.inspect(config)


def standard_augmentation(config: DataConfig, image_size: int | None = None) -> Variation:
    """Return the customary augmentation of a source.

    Images that stay encoded: a crop of random size and form, and flip.
    Photos: crop from a border of 4 pixels at 32x32 (in proportion for other sizes, at least 1) and flip.
    Digits: a border of 1 pixel and no flip, since a mirrored digit is another sign.

    Args:
        config: The source; `horizontal_flip=False` leaves the flip out.
        image_size: Height of the images where the config leaves it to the data.
    """
    return config.reader.augmentation(config, image_size)
