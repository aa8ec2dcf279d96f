"""CIFAR-10 from torchvision's own folder or from two Parquet files."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from torchvision.datasets import CIFAR10

from multinas_ray.data.augmentation import Augmentation, photo_augmentation
from multinas_ray.data.config import DataConfig
from multinas_ray.data.images import DataSplits, ImageSet
from multinas_ray.data.in_memory import splits_in_memory
from multinas_ray.data.sources import DataSource, register_source
from multinas_ray.errors import DataError, StateError
from multinas_ray.settings import checked
from multinas_ray.storage import GivenPath, exists, read_parquet, resolve

CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_PARQUET_FILES = ("train.parquet", "test.parquet")


@register_source
@checked
@dataclass(frozen=True, kw_only=True)
class Cifar10Source(DataSource):
    """CIFAR-10: 60,000 photos of 3x32x32 pixels."""

    kind: ClassVar[str] = "cifar10"

    path: GivenPath
    """See `DataConfig.path`."""
    download: bool = False
    """Let torchvision download the photos (170 MB) into `path` if they are missing."""

    def load(self, config: DataConfig) -> DataSplits:
        """Load the photos and divide them.

        Raises:
            DataError: The folder has no usable photos; the message names the file or row and the remedy.
            ConfigError: `image_size` or `max_train_images` does not fit.
        """
        training, test, class_names = load_cifar10(self.path, download=self.download)
        return splits_in_memory(config, training, test, class_names)

    def augmentation(self, config: DataConfig, image_size: int | None) -> Augmentation:
        """The augmentation of photos."""
        return photo_augmentation(config, image_size)


def load_cifar10(path: str, *, download: bool) -> tuple[ImageSet, ImageSet, tuple[str, ...]]:
    """Load CIFAR-10's training and test images.

    Args:
        path: Folder with `train.parquet` and `test.parquet`, or torchvision's root.
        download: Let torchvision download what is missing.

    Returns:
        Training images, test images, class names.

    Raises:
        DataError: The folder has no usable photos; the message names the file or row and the remedy.
    """
    place = resolve(path)
    if not place.is_local:
        raise DataError(f"CIFAR-10 must be on a disk, got {place}: mount the bucket, or copy its files")
    folder = Path(place)
    if any(exists(place.join(name)) for name in _PARQUET_FILES):
        return _read_parquet(folder / "train.parquet"), _read_parquet(folder / "test.parquet"), CLASS_NAMES
    if not download:
        _check_folder(folder)
    try:
        train = CIFAR10(str(folder), train=True, download=download)
        test = CIFAR10(str(folder), train=False, download=download)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"CIFAR-10 in {folder} could not be loaded ({error}); delete the folder's cifar-10-* entries and "
            "set download=True, or check the network and the disk"
        ) from error
    return _from_torchvision(train), _from_torchvision(test), tuple(train.classes)


def _check_folder(folder: Path) -> None:
    remedy = "set download=True, or give the folder with cifar-10-batches-py or train.parquet and test.parquet"
    if not folder.exists():
        raise DataError(f"the folder {folder} does not exist: {remedy}")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder: {remedy}")
    if not any(folder.iterdir()):
        raise DataError(f"the folder {folder} is empty: {remedy}")
    if not (folder / CIFAR10.base_folder).is_dir():
        raise DataError(f"the folder {folder} does not contain CIFAR-10: {remedy}")


def _from_torchvision(dataset: Any) -> ImageSet:
    return ImageSet(np.ascontiguousarray(dataset.data), np.asarray(dataset.targets, dtype=np.int64))


def _read_parquet(file: Path) -> ImageSet:
    """Read one Parquet file; everything cheap is checked before the first image is decoded."""
    if not file.is_file():
        raise DataError(f"the folder must have both {' and '.join(_PARQUET_FILES)}, {file} is missing: add it")
    try:
        table = read_parquet(file)
    except StateError as error:
        raise DataError(str(error)) from error
    names = table.column_names
    for column in ("image", "label"):
        if column not in names:
            raise DataError(
                f"{file} has no column {column!r}, only {', '.join(names)}: name the column of encoded JPEG or PNG "
                "bytes 'image' and that of the class 0..9 'label'"
            )
    if table.num_rows == 0:
        raise DataError(f"{file} has no rows: write the images into it")
    labels = _check_labels(table["label"], file)
    encoded = table["image"]
    if not (pa.types.is_binary(encoded.type) or pa.types.is_large_binary(encoded.type)):
        raise DataError(f"column 'image' of {file} must hold encoded JPEG or PNG bytes, got {encoded.type}")
    if encoded.null_count:
        row = int(np.flatnonzero(encoded.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"row {row} of {file} has no image: remove the row or write its bytes")
    return ImageSet(_decode_all(encoded, file), labels)


def _check_labels(column: pa.ChunkedArray, file: Path) -> npt.NDArray[np.int64]:
    if not pa.types.is_integer(column.type):
        raise DataError(f"column 'label' of {file} must hold whole numbers 0..9, got {column.type}")
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(f"row {row} of {file} has no label: labels must lie in 0..{len(CLASS_NAMES) - 1}")
    labels: npt.NDArray[np.int64] = column.to_numpy().astype(np.int64)
    outside = np.flatnonzero((labels < 0) | (labels >= len(CLASS_NAMES)))
    if len(outside):
        raise DataError(
            f"label {labels[outside[0]]} in row {outside[0]} of {file} is out of range: labels must lie in "
            f"0..{len(CLASS_NAMES) - 1}"
        )
    return labels


def _decode_all(encoded: pa.ChunkedArray, file: Path) -> npt.NDArray[np.uint8]:
    # one thread: for images this small, threads only wait for each other's Python
    first = _decode(encoded[0].as_py(), 0, file)
    images = np.empty((len(encoded), *first.shape), dtype=np.uint8)
    for row, value in enumerate(encoded):
        image = _decode(value.as_py(), row, file)
        if image.shape != first.shape:
            raise DataError(
                f"row {row} of {file} is {image.shape[1]}x{image.shape[0]} pixels, row 0 is "
                f"{first.shape[1]}x{first.shape[0]}: scale all images to one size"
            )
        images[row] = image
    return images


def _decode(value: bytes, row: int, file: Path) -> npt.NDArray[np.uint8]:
    """Decode one image to (H, W, 3); greyscale becomes RGB."""
    # Pillow, which torchvision itself requires; torchvision's own decoder is deprecated
    try:
        with Image.open(io.BytesIO(value)) as image:
            mode = image.mode
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"the image in row {row} of {file} cannot be decoded ({error}): replace it") from error
    if mode.startswith(("I", "F")):
        raise DataError(f"the image in row {row} of {file} has more than 8 bits per channel: convert it to 8")
    return pixels
