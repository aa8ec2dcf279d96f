"""Sources of encoded images, which are either decoded into memory or streamed."""

# n files, C channels

from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from multinas_ray.data.augmentation import Variation, photo_augmentation
from multinas_ray.data.class_files import DAMAGED
from multinas_ray.data.config import DataConfig
from multinas_ray.data.copies import copy_notes
from multinas_ray.data.decoding import (
    GREY_MODES,
    Encoded,
    decode,
    huge_note,
    is_huge,
    open_image,
    square_of,
    tell_skipped,
)
from multinas_ray.data.images import SPLITS, DataSplits, ImageSet, channel_statistics
from multinas_ray.data.left_out import LeftOut, count_by_class
from multinas_ray.data.listing import ImageListing, over_limit, split_listing
from multinas_ray.data.machine import available_memory_bytes, usable_cores
from multinas_ray.data.progress import image_progress
from multinas_ray.data.sources import DataFacts, DataSource
from multinas_ray.data.streamed_images import CHANNELS, ResizedCrop, StreamedImages
from multinas_ray.errors import ConfigError, DataError
from multinas_ray.settings import NonNegativeInt
from multinas_ray.storage import GivenPath

MAX_FOUND_SIZE = 64
"""Largest image_size that is chosen by default, since sets in memory are for small images [ours]."""
STREAMED_SIZE = 224
"""Default image_size of images that stay encoded, which is customary for ImageNet."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's training pixels, from torchvision's references."""
_TITLES = {"train": "training", "validation": "validation", "test": "test"}
_STREAMED_SAMPLED = 4
_SIZES_SAMPLED = 1000  # evenly spaced training images whose sizes are read [ours]
_CHUNK = 1000
_COPIES = 2  # the driver loads the images for its checks, and a worker may do so on the same machine


@dataclass(frozen=True, kw_only=True)
class EncodedSource(DataSource):
    """A source of encoded images, such as JPEG and PNG files. It is abstract: a subclass lists the images.

    With `in_memory` the images are decoded at the start, to small squares, with one channel if all are grey. Otherwise
    they are decoded when they are needed, in RGB and normalised as ImageNet.
    """

    path: GivenPath
    """Place of the images."""
    strict: bool = False
    """See `DataConfig.strict`; so do the fields below have the meaning of those of `DataConfig`."""
    in_memory: bool = True
    decode_processes: NonNegativeInt | None = None
    exif_rotation: bool = True
    draft_decoding: bool = False

    @abstractmethod
    def listing(self) -> ImageListing:
        """List the images without opening them.

        Raises:
            DataError: The images cannot be listed; the message says what is wrong and names the remedy.
        """

    def load(self, config: DataConfig) -> DataSplits:
        """Decode the images into memory, or prepare to decode them when they are needed.

        Raises:
            DataError: The images cannot be listed; one is damaged and `strict` is set; or a class has no training
                image that can be decoded.
            ConfigError: The images do not fit into memory, or `max_train_images` is too small.
        """
        listing = self.listing()
        parts = split_listing(listing, config)
        left_out = (*listing.left_out, *over_limit(listing, parts))
        if self.in_memory:
            return self._decoded(listing, parts, config, left_out)
        return self._streamed(listing, parts, config, left_out)

    def inspect(self, config: DataConfig) -> DataFacts:
        """Determine size, channels, classes and splits; only the headers of some images are read."""
        listing = self.listing()
        train, validation, test = split_listing(listing, config)
        if self.in_memory:
            size, channels = _find_shape(listing, config.image_size)
        else:
            size, channels = config.image_size or STREAMED_SIZE, CHANNELS
        return DataFacts((channels, size, size), listing.class_names, len(train), len(validation), len(test))

    def augmentation(self, config: DataConfig, image_size: int | None) -> Variation:
        """In memory, the augmentation of photos; otherwise a crop of random size and aspect ratio, and a flip."""
        if self.in_memory:
            return photo_augmentation(config, image_size)
        return ResizedCrop(horizontal_flip=config.mirrors)

    def _streamed(
        self, listing: ImageListing, parts: Sequence[Encoded], config: DataConfig, left_out: Sequence[LeftOut]
    ) -> DataSplits:
        size = STREAMED_SIZE if config.image_size is None else config.image_size
        drafts = ["JPEGs are decoded no larger than is needed (draft_decoding=True)"] if self.draft_decoding else []
        _check_sample(parts[0], strict=self.strict)
        train, validation, test = (
            StreamedImages(
                part,
                size,
                strict=self.strict,
                num_processes=self.decode_processes,
                exif_rotation=self.exif_rotation,
                draft_decoding=self.draft_decoding,
            )
            for part in parts
        )
        return DataSplits(
            train,
            validation,
            test,
            IMAGENET_MEAN,
            IMAGENET_STD,
            listing.class_names,
            (CHANNELS, size, size),
            left_out=tuple(left_out),
            notes=(
                *self._notes(),
                *drafts,
                "damaged images are found when they are needed, and others take their places",
                *copy_notes(listing),
            ),
        )

    def _decoded(
        self, listing: ImageListing, parts: Sequence[Encoded], config: DataConfig, left_out: Sequence[LeftOut]
    ) -> DataSplits:
        size, channels = _find_shape(listing, config.image_size)
        _check_memory(sum(map(len, parts)), size, channels)
        sets: list[ImageSet] = []
        errors: list[tuple[str, DataError]] = []
        damaged: list[LeftOut] = []
        huge: list[str] = []
        for split, part in zip(SPLITS, parts, strict=True):
            title = f"Reading {_TITLES[split]} images"
            image_set, skipped = self._decode_all(part, size, channels, huge, title=title)
            _check_left(image_set, part, _TITLES[split], listing.class_names, list(skipped.values()))
            sets.append(image_set)
            errors += skipped.values()
            damaged += count_by_class(part.labels[list(skipped)], listing.class_names, DAMAGED, split)
        tell_skipped([error for _, error in errors], sum(map(len, parts)))
        train, validation, test = sets
        mean, std = channel_statistics(train.images)
        return DataSplits(
            train,
            validation,
            test,
            mean,
            std,
            listing.class_names,
            (channels, size, size),
            skipped_files=tuple(path for path, _ in errors),
            left_out=(*left_out, *damaged),
            notes=(*self._notes(), *([huge_note(len(huge), min(huge))] if huge else []), *copy_notes(listing)),
        )

    def _notes(self) -> tuple[str, ...]:
        told = "are turned upright" if self.exif_rotation else "are not turned"
        return (f"photos {told} by their EXIF data (exif_rotation={self.exif_rotation})",)

    def _decode_all(
        self, files: Encoded, size: int, channels: int, huge: list[str], *, title: str
    ) -> tuple[ImageSet, dict[int, tuple[str, DataError]]]:
        """Decode the files in several threads, since Pillow releases Python's lock; `huge` gets the names of huge ones.

        Returns:
            The images, and by its number the name of each damaged file and what is wrong with it.
        """
        images = np.empty((len(files), size, size, channels), dtype=np.uint8)

        def decode_into(index: int) -> DataError | None:
            try:
                with open_image(files, index) as image:
                    name = files.name(index)
                    huge.extend([name] if is_huge(image) else [])
                    images[index] = square_of(image, size, channels, name, exif_rotation=self.exif_rotation)
            except DataError as error:
                return error
            return None

        errors: dict[int, DataError] = {}
        with image_progress(len(files)) as progress, ThreadPoolExecutor(_num_threads()) as pool:
            bar = progress.add_task(title, total=len(files))
            for start in range(0, len(files), _CHUNK):
                chunk = range(start, min(start + _CHUNK, len(files)))
                errors |= {i: error for i, error in zip(chunk, pool.map(decode_into, chunk), strict=True) if error}
                if errors and self.strict:
                    raise next(iter(errors.values()))
                progress.update(bar, advance=len(chunk))
        image_set = ImageSet(images, files.labels)
        if errors:
            image_set = image_set.select(np.setdiff1d(np.arange(len(files)), list(errors)))
        return image_set, {i: (files.name(i), error) for i, error in errors.items()}


def _check_sample(files: Encoded, *, strict: bool) -> None:
    """Decode a few images, so that a set in which none can be decoded is reported before anything starts."""
    errors = []
    for index in np.linspace(0, len(files) - 1, _STREAMED_SAMPLED).round().astype(int).tolist():
        try:
            with open_image(files, index) as image:
                decode(image, CHANNELS, files.name(index), exif_rotation=False)
        except DataError as error:
            errors.append(error)
    if errors and (strict or len(errors) == _STREAMED_SAMPLED):
        raise errors[0]


def _find_shape(listing: ImageListing, image_size: int | None) -> tuple[int, int]:
    """Height (= width) and number of channels."""
    index = np.unique(np.linspace(0, len(listing.train) - 1, _SIZES_SAMPLED).round().astype(np.int64))
    headers = [found for found in _headers(listing.train.select(index)) if found is not None]
    if not headers:
        raise DataError(
            f"none of the sampled images can be opened, the first is {listing.train.name(0)}: check their format"
        )
    size = image_size or min(MAX_FOUND_SIZE, int(np.median([side for side, _ in headers])))
    if size < 4:
        raise DataError(
            f"images must have at least 4 pixels on a side, {listing.train.name(0)} and others have {size}: set "
            "image_size to at least 4"
        )
    is_grey = all(grey for _, grey in headers) and _is_grey(listing)
    return size, 1 if is_grey else 3


def _is_grey(listing: ImageListing) -> bool:
    """Whether all images that can be opened are grey."""
    parts = [part for part in (listing.train, listing.validation, listing.test) if part is not None]
    return all(found is None or found[1] for part in parts for found in _headers(part))


def _headers(files: Encoded) -> list[tuple[int, bool] | None]:
    """Shorter side of each image and whether it is grey; None for a file that cannot be opened."""

    def header(index: int) -> tuple[int, bool] | None:
        try:
            with open_image(files, index) as image:
                return min(image.size), image.mode in GREY_MODES
        except DataError:
            return None

    with ThreadPoolExecutor(_num_threads()) as pool:
        return list(pool.map(header, range(len(files))))


def _check_left(
    image_set: ImageSet,
    files: Encoded,
    split: str,
    class_names: tuple[str, ...],
    skipped: list[tuple[str, DataError]],
) -> None:
    had, left = (np.bincount(labels, minlength=len(class_names)) for labels in (files.labels, image_set.labels))
    gone = np.flatnonzero((had > 0) & (left == 0))
    if len(gone):
        raise DataError(
            f"none of the {had[gone[0]]} {split} images of class {class_names[gone[0]]!r} can be decoded "
            f"({skipped[0][1]}): replace them, or remove the class's folder"
        )


def _check_memory(num_images: int, size: int, channels: int) -> None:
    needed, available = num_images * size * size * channels, available_memory_bytes()
    if available is not None and _COPIES * needed > available:
        fitting = int((available / _COPIES / num_images / channels) ** 0.5)
        raise ConfigError(
            f"the images must fit into memory {_COPIES} times (driver and worker may share a machine), but "
            f"{num_images} images of {size}x{size} take {needed / 2**30:.1f} GiB and {available / 2**30:.1f} GiB are "
            f"available: set image_size={fitting} or less, or max_train_images, or in_memory=False"
        )


def _num_threads() -> int:
    return min(16, usable_cores())
