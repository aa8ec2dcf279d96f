"""Decoding image files with Pillow, and reporting those that cannot be decoded."""

# H height, W width, C channels

import io
import logging
import math
import struct
from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from multinas_ray.data.warnings_left_out import leave_out_warnings
from multinas_ray.errors import DataError

logger = logging.getLogger(__name__)

GREY_MODES = ("L", "1", "LA")
DECODE_ERRORS = (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, Image.DecompressionBombError)
"""Exceptions that Pillow raises for damaged files of its many formats."""
_DRAFT_FACTOR = 2  # JPEGs are decoded at a half, quarter or eighth if that is still twice the wanted size [ours]
_NAMES_SHOWN = 5
_ORIENTATION = 0x0112  # the tag, and its values below: EXIF 2.32, table 6
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_TURNS[orientation] for orientation in (5, 6, 7, 8)}


@runtime_checkable
class Encoded(Protocol):
    """Labelled images in encoded form, read when they are needed."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(n,) class of each image, from 0."""

    @property
    def groups(self) -> npt.NDArray[np.int64] | None:
        """(n,) number of the piece with which each image is read; None if images are read one by one."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Return the name of image `index` in messages."""

    def read(self, index: int) -> bytes:
        """Return the encoded image `index`; raises OSError if it cannot be read."""

    def select(self: "EncodedT", index: npt.NDArray[np.int64]) -> "EncodedT":
        """Return the images at `index`, in its order."""

    def join(self: "EncodedT", other: "EncodedT") -> "EncodedT":
        """Return these images, then the others of the same source."""


EncodedT = TypeVar("EncodedT", bound=Encoded)


def open_image(images: Encoded, index: int) -> Image.Image:
    """Open an image; its pixels are decoded when they are first needed.

    Raises:
        DataError: The file cannot be read or is not an image.
    """
    leave_out_warnings()
    try:
        return Image.open(io.BytesIO(images.read(index)))
    except UnidentifiedImageError as error:
        raise DataError(f"{images.name(index)} cannot be read as an image (no known format): replace it") from error
    except DECODE_ERRORS as error:
        raise DataError(f"{images.name(index)} cannot be read as an image ({error}): replace it") from error


def is_huge(image: Image.Image) -> bool:
    """Whether an image has so many pixels that Pillow warns of it, as of one that is made to fill the memory."""
    return Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS


def huge_note(number: int, name: str) -> str:
    """What a person should know of images that are huge.

    Args:
        number: How many there are.
        name: One of them.
    """
    return (
        f"{number:,} image(s) have more than {(Image.MAX_IMAGE_PIXELS or 0) // 10**6} million pixels, such as {name}: "
        "they are used, but take seconds and much memory each; make them smaller"
    )


def decode(image: Image.Image, channels: int, name: str, *, exif_rotation: bool) -> Image.Image:
    """Return an opened image's pixels as grey (1 channel) or RGB (3).

    Args:
        image: The image; of several frames, the first.
        channels: 1 for grey, 3 for RGB.
        name: Its name in messages.
        exif_rotation: Turn it upright as its EXIF data says.

    Raises:
        DataError: The image is damaged, or has more than 8 bits per channel.
    """
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{name} has more than 8 bits per channel: convert it to 8 bits")
    try:
        image.load()
        if exif_rotation and (turn := _turn(image)) is not None:
            image = image.transpose(turn)
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns about direct conversion
        return image.convert("L" if channels == 1 else "RGB")
    except DECODE_ERRORS as error:
        raise DataError(f"{name} cannot be decoded ({error}): replace it") from error


def is_jpeg(image: Image.Image) -> bool:
    """Whether an image can be decoded at a part of its size."""
    return image.format in ("JPEG", "MPO")


def upright_size(image: Image.Image, *, exif_rotation: bool) -> tuple[int, int]:
    """Width and height of an opened image as `decode` will turn it."""
    width, height = image.size
    return (height, width) if exif_rotation and _turn(image) in _SIDEWAYS else (width, height)


def shrink(image: Image.Image, share: float) -> None:
    """Let an opened JPEG be decoded at a half, quarter or eighth, the least that is at least a share of its size."""
    width, height = image.size
    image.draft(None, (math.ceil(width * share), math.ceil(height * share)))


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns a loaded image upright; None if nothing does, or its EXIF data is damaged."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except (*DECODE_ERRORS, KeyError, ArithmeticError, struct.error):
        return None


def read_square(
    images: Encoded, index: int, size: int, channels: int, *, exif_rotation: bool = True
) -> npt.NDArray[np.uint8]:
    """Read an image, scale its shorter side to `size` (antialiased) and cut out the middle square.

    Args:
        images: The images.
        index: Position of the image among them.
        size: Height and width of the result.
        channels: 1 for grey, 3 for RGB.
        exif_rotation: Turn photos upright as their EXIF data says.

    Returns:
        (size, size, channels) pixels; an image that already has this size is unchanged.

    Raises:
        DataError: The image cannot be decoded; the message names it.
    """
    with open_image(images, index) as image:
        return square_of(image, size, channels, images.name(index), exif_rotation=exif_rotation)


def square_of(image: Image.Image, size: int, channels: int, name: str, *, exif_rotation: bool) -> npt.NDArray[np.uint8]:
    """The same of an image that is open and has this name in messages."""
    image.draft(None, (_DRAFT_FACTOR * size, _DRAFT_FACTOR * size))
    decoded = decode(image, channels, name, exif_rotation=exif_rotation)
    square = ImageOps.fit(decoded, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(square).reshape(size, size, channels)


def tell_skipped(errors: Sequence[DataError], num_files: int) -> None:
    """Log how many of `num_files` were skipped and the first few reasons."""
    if errors:
        shown = "; ".join(str(error) for error in errors[:_NAMES_SHOWN])
        more = f"; and {len(errors) - _NAMES_SHOWN} more" if len(errors) > _NAMES_SHOWN else ""
        logger.warning("%d of %d images are left out: %s%s", len(errors), num_files, shown, more)
