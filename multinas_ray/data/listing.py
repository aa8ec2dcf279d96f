"""The list of a source's encoded images, and its division into the three sets of a run."""

# n images

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from multinas_ray.data.class_files import OVER_LIMIT
from multinas_ray.data.config import DataConfig
from multinas_ray.data.decoding import Encoded
from multinas_ray.data.images import divide, divide_training, limit_training
from multinas_ray.data.left_out import LeftOut, count_by_class
from multinas_ray.errors import DataError
from multinas_ray.settings import checked

TEST_FRACTION, _TEST_SEED = 0.2, 0
"""Share of the images that become test images if the source makes no splits [ours]; the same for every `split_seed`."""


@checked
@dataclass(frozen=True, eq=False)
class ImageListing:
    """The encoded images of a source, by the splits that the source makes."""

    train: Encoded
    """Training images; all images if the source makes no splits."""

    validation: Encoded | None
    """Images on which architectures are judged; None: they are drawn from `train`."""

    test: Encoded | None
    """Images that are used only at the end; None: they are drawn from `train`."""

    class_names: tuple[str, ...]
    """Names of the classes, sorted; their positions are the labels."""

    left_out: tuple[LeftOut, ...] = ()
    """Files of the source that are not listed, by split, class and reason."""


def split_listing(listing: ImageListing, config: DataConfig) -> tuple[Encoded, Encoded, Encoded]:
    """Divide listed images into training, validation and test images, stratified by class.

    Raises:
        DataError: A class would have no training image.
        ConfigError: `max_train_images` leaves fewer than two images per class.
    """
    train, test = listing.train, listing.test
    if test is None:
        train, test = divide(train, TEST_FRACTION, np.random.default_rng(_TEST_SEED))
    train = limit_training(train, config, len(listing.class_names))
    validation = listing.validation
    if validation is None:
        train, validation = divide_training(train, config)
    counts = np.bincount(train.labels, minlength=len(listing.class_names))
    if counts.min() == 0:
        raise DataError(
            "each class must have a training image after the splits, class "
            f"{listing.class_names[int(counts.argmin())]!r} would have none: give each class more images, or set a "
            f"validation_fraction below {config.validation_fraction}"
        )
    return train, validation, test


def over_limit(listing: ImageListing, parts: Sequence[Encoded]) -> tuple[LeftOut, ...]:
    """The listed images that are in none of the sets, since `max_train_images` is smaller than their number."""
    num_classes = len(listing.class_names)
    whole, used = (
        sum(np.bincount(part.labels, minlength=num_classes) for part in each if part is not None)
        for each in ((listing.train, listing.validation, listing.test), parts)
    )
    split = "" if listing.test is None else "train"
    return count_by_class(np.repeat(np.arange(num_classes), whole - used), listing.class_names, OVER_LIMIT, split)
