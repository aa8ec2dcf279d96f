"""A tree of image files decoded into memory; size and channels are found from the files."""

# n files, C channels

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from multinas_ray.data.config import DataConfig
from multinas_ray.data.decoding import GREY_MODES, Encoded, decode, open_image, read_square, tell_skipped
from multinas_ray.data.images import DataSplits, ImageSet, channel_statistics
from multinas_ray.data.progress import image_progress
from multinas_ray.data.shards import scan_images
from multinas_ray.data.streamed_images import CHANNELS, StreamedImages
from multinas_ray.data.tree import ImageTree, split_files
from multinas_ray.errors import ConfigError, DataError

MAX_FOUND_SIZE = 64
"""Largest image_size taken without being asked for: sets in memory are for small images [ours]."""
STREAMED_SIZE = 224
"""image_size of images that stay encoded, if not asked for: ImageNet's custom."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's training pixels, as torchvision's references have them."""
_STREAMED_SAMPLED = 4
_SIZES_SAMPLED = 1000  # training images, evenly spaced, whose sizes are looked at [ours]
_CHUNK = 1000
_COPIES = 2  # the driver checks the images before a worker loads them, maybe on the same machine


@dataclass(frozen=True)
class FolderFacts:
    """What a search needs to know of a tree before its images are decoded."""

    image_shape: tuple[int, int, int]
    """(C, H, W) that its images will have."""

    class_names: tuple[str, ...]
    """Name of each label."""

    num_train: int
    """Training images, the validation images left out."""

    num_validation: int
    """Images that architectures are judged on."""

    num_test: int
    """Images for the end."""


def inspect_folder(config: DataConfig) -> FolderFacts:
    """Find out size, channels, classes and splits of a tree; only the headers of some files are read.

    Raises:
        DataError: The tree cannot be used; the message names what is wrong and the remedy.
        ConfigError: `max_train_images` leaves less than two images a class.
    """
    tree = scan_images(str(config.path))
    train, validation, test = split_files(tree, config)
    if config.in_memory:
        size, channels = _find_shape(tree, config.image_size)
    else:
        size, channels = config.image_size or STREAMED_SIZE, CHANNELS
    return FolderFacts((channels, size, size), tree.class_names, len(train), len(validation), len(test))


def load_streamed(config: DataConfig) -> DataSplits:
    """Make the sets of a tree's images that stay encoded: they are RGB, normalised as ImageNet.

    Raises:
        DataError: The tree cannot be used, or the images looked at cannot be decoded.
        ConfigError: `max_train_images` leaves less than two images a class.
    """
    tree = scan_images(str(config.path))
    files = split_files(tree, config)
    size = STREAMED_SIZE if config.image_size is None else config.image_size
    _check_sample(files[0], strict=config.strict)
    train, validation, test = (
        StreamedImages(part, size, strict=config.strict, num_processes=config.decode_processes) for part in files
    )
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    return DataSplits(train, validation, test, mean, std, tree.class_names, (CHANNELS, size, size))


def _check_sample(files: Encoded, *, strict: bool) -> None:
    """Decode a few images, so that a set of which none can be decoded is told before anything starts."""
    errors = []
    for index in np.linspace(0, len(files) - 1, _STREAMED_SAMPLED).round().astype(int).tolist():
        try:
            with open_image(files, index) as image:
                decode(image, CHANNELS, files.name(index))
        except DataError as error:
            errors.append(error)
    if errors and (strict or len(errors) == _STREAMED_SAMPLED):
        raise errors[0]


def load_folder(config: DataConfig) -> DataSplits:
    """Decode a tree's images into memory.

    Grey images are kept in one channel if all are grey, else every image becomes RGB.

    Raises:
        DataError: The tree cannot be used, an image is damaged and `config.strict` is set, or a class has no
            training image that can be decoded.
        ConfigError: The images do not fit into the memory, or `max_train_images` is too small.
    """
    tree = scan_images(str(config.path))
    files = split_files(tree, config)
    size, channels = _find_shape(tree, config.image_size)
    _check_memory(sum(map(len, files)), size, channels)
    sets, errors = [], []
    for split, part in zip(("training", "validation", "test"), files, strict=True):
        image_set, skipped = _decode_all(part, size, channels, strict=config.strict, title=f"Reading {split} images")
        sets.append(image_set)
        errors += skipped
        _check_left(image_set, part, split, tree.class_names, skipped)
    tell_skipped([error for _, error in errors], sum(map(len, files)))
    train, validation, test = sets
    mean, std = channel_statistics(train.images)
    skipped_files = tuple(path for path, _ in errors)
    return DataSplits(
        train, validation, test, mean, std, tree.class_names, (channels, size, size), skipped_files=skipped_files
    )


def _find_shape(tree: ImageTree, image_size: int | None) -> tuple[int, int]:
    """Height (= width) and number of channels."""
    index = np.unique(np.linspace(0, len(tree.train) - 1, _SIZES_SAMPLED).round().astype(np.int64))
    headers = [found for found in _headers(tree.train.select(index)) if found is not None]
    if not headers:
        raise DataError(
            f"none of the images looked at can be opened: are they images? The first is {tree.train.name(0)}"
        )
    size = image_size or min(MAX_FOUND_SIZE, int(np.median([side for side, _ in headers])))
    if size < 4:
        raise DataError(f"the images are {size} pixels small, as {tree.train.name(0)}: set image_size to 4 or more")
    is_grey = all(grey for _, grey in headers) and all(
        found is None or found[1]
        for part in (tree.train, tree.validation, tree.test)
        if part is not None
        for found in _headers(part)
    )
    return size, 1 if is_grey else 3


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


def _decode_all(
    files: Encoded, size: int, channels: int, *, strict: bool, title: str
) -> tuple[ImageSet, list[tuple[str, DataError]]]:
    """Decode the files in several threads; Pillow works outside Python's lock."""
    images = np.empty((len(files), size, size, channels), dtype=np.uint8)

    def decode_into(index: int) -> DataError | None:
        try:
            images[index] = read_square(files, index, size, channels)
        except DataError as error:
            return error
        return None

    errors: dict[int, DataError] = {}
    with image_progress(len(files)) as progress, ThreadPoolExecutor(_num_threads()) as pool:
        bar = progress.add_task(title, total=len(files))
        for start in range(0, len(files), _CHUNK):
            chunk = range(start, min(start + _CHUNK, len(files)))
            errors |= {i: error for i, error in zip(chunk, pool.map(decode_into, chunk), strict=True) if error}
            if errors and strict:
                raise next(iter(errors.values()))
            progress.update(bar, advance=len(chunk))
    image_set = ImageSet(images, files.labels)
    if errors:
        image_set = image_set.select(np.setdiff1d(np.arange(len(files)), list(errors)))
    return image_set, [(files.name(i), error) for i, error in errors.items()]


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
            f"{num_images} images of {size}x{size} take {needed / 2**30:.1f} GiB, {_COPIES} times where driver and "
            f"worker share a machine, of {available / 2**30:.1f} GiB: set image_size={fitting} or less, or "
            "max_train_images, or in_memory=False"
        )


def available_memory_bytes() -> int | None:
    """Memory that this process may still take: the machine's or its container's, None where unknown (not Linux)."""
    found = []
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and limit.read_text().strip() != "max":
        found.append(int(limit.read_text()) - int(used.read_text()))
    return min(found, default=None)


def _num_threads() -> int:
    return min(16, os.cpu_count() or 1)
