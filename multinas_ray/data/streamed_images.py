"""The work of the decoding processes: from a request for a batch to its pixels. Each of them imports this module."""

# n images of the set, B images of a batch, S height and width, C channels

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import Dataset

from multinas_ray.data.decoding import Encoded, decode, is_huge, is_jpeg, open_image, shrink, upright_size
from multinas_ray.errors import DataError, exits_told
from multinas_ray.settings import checked, checked_arguments

if TYPE_CHECKING:
    from torchvision.transforms import v2

CHANNELS = 3
_RESIZE_RATIO = 256 / 224
"""Shorter side before the middle is cut out, divided by the network's size, as in torchvision's references for
ImageNet."""
_STREAM = 2  # keeps these draws apart from the epoch's permutation, which uses the key (seed, epoch)


@checked
@dataclass(frozen=True, kw_only=True)
class ResizedCrop:
    """Random variation of photos: a part of the image, of random size and aspect ratio, scaled to the network's size.

    It is torchvision's RandomResizedCrop and RandomHorizontalFlip, where draws depend only on (seed, epoch, image).
    """

    least_area: float = 0.08
    """Smallest share of the image's area that a crop keeps; 0.08 is customary for ImageNet."""

    horizontal_flip: bool = True
    """Mirror every second image, on average."""

    def transform(self, image_size: int) -> v2.Transform:
        """The transform of PIL images; it draws from torch's global generator."""
        from torchvision.transforms import v2  # here, since images in memory do not need these 3 seconds of loading

        crop = v2.RandomResizedCrop(image_size, scale=(self.least_area, 1.0), antialias=True)
        return v2.Compose([crop, v2.RandomHorizontalFlip(0.5 if self.horizontal_flip else 0.0)])


@checked_arguments
def evaluation_transform(image_size: int) -> v2.Transform:
    """Scale the shorter side to image_size * 256 / 224 and cut out the middle, as torchvision's references do."""
    from torchvision.transforms import v2  # as above

    return v2.Compose([v2.Resize(round(image_size * _RESIZE_RATIO), antialias=True), v2.CenterCrop(image_size)])


@checked
@dataclass(frozen=True, eq=False)
class StreamedImages:
    """A set of images that stay encoded, on a disk or in an object store."""

    encoded: Encoded
    """The encoded images."""

    image_size: int
    """S, the height and width to which they are scaled."""

    strict: bool = False
    """Stop at an image that cannot be decoded. If False, it is named in the log and replaced by the next image of its
    class that can be decoded, so that batches keep their size and do not depend on the process that finds it [ours]."""

    num_processes: int | None = None
    """Number of decoding processes of a stream, or of streams that share them; 0: the calling process decodes; None:
    this machine's cores are shared by its ranks."""

    exif_rotation: bool = True
    """Turn photos upright as their EXIF data says."""

    draft_decoding: bool = False
    """Decode JPEGs at a half, quarter or eighth, where the part that is used still has the pixels that are wanted."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """(n,) class of each image, from 0."""
        return self.encoded.labels

    def __len__(self) -> int:
        return len(self.encoded)

    def select(self, index: npt.NDArray[np.int64]) -> StreamedImages:
        """Return the images at `index`, in its order."""
        return replace(self, encoded=self.encoded.select(index))

    def join(self, other: StreamedImages) -> StreamedImages:
        """Return these images, then the others of the same source."""
        return replace(self, encoded=self.encoded.join(other.encoded))


class Request(NamedTuple):
    """A batch to decode."""

    numbers: npt.NDArray[np.int64]
    """(B,) images, by their positions in the set."""
    epoch: int | None
    """The epoch for which their variation is drawn; None: no variation."""
    place: int = 0
    """Of the set among those of the decoder."""


class Decoded(NamedTuple):
    """A decoded batch."""

    pixels: torch.Tensor
    """(B, S, S, C) uint8."""
    labels: torch.Tensor
    """(B,) int64."""
    damaged: dict[int, str]
    """Images that cannot be decoded and what is wrong with each."""
    failure: str | None
    """Why the batch could not be made; None if it was made."""
    huge: tuple[str, ...] = ()
    """Names of images that are huge, see `decoding.is_huge`."""


class ImageDecoder(Dataset[Decoded]):
    """Makes batches; the same request gives the same batch in every process.

    Args:
        sets: Sets of images of one size.
        augment: Random variation, or None.
        seed: Seed of the variation.
    """

    def __init__(self, sets: Sequence[StreamedImages], augment: ResizedCrop | None, seed: int) -> None:
        (self._size,) = {each.image_size for each in sets}
        self._sets, self._seed = sets, seed
        self._evaluate = evaluation_transform(self._size)
        self._vary: Any = None if augment is None else augment.transform(self._size)

    @exits_told()
    def __getitem__(self, request: Request) -> Decoded:
        """Decode a batch."""
        images, size, damaged = self._sets[request.place], self._size, dict[int, str]()
        pixels = np.empty((len(request.numbers), size, size, CHANNELS), dtype=np.uint8)
        labels = torch.from_numpy(images.labels[request.numbers])
        failure, huge = None, list[str]()
        for place, index in enumerate(request.numbers.tolist()):
            try:
                pixels[place] = self._pixels(images, index, request.epoch, damaged, huge)
            except DataError as error:
                failure = str(error)
                break
        return Decoded(torch.from_numpy(pixels), labels, damaged, failure, tuple(huge))

    def _pixels(
        self, images: StreamedImages, index: int, epoch: int | None, damaged: dict[int, str], huge: list[str]
    ) -> npt.NDArray[np.uint8]:
        for number in _stand_ins(images, index):
            try:
                with open_image(images.encoded, number) as image:
                    name, upright = images.encoded.name(number), images.exif_rotation
                    huge.extend([name] if is_huge(image) else [])
                    if images.draft_decoding and is_jpeg(image):
                        return self._drafted(image, number, epoch, name, exif_rotation=upright)
                    decoded = decode(image, CHANNELS, name, exif_rotation=upright)
            except DataError as error:
                if images.strict:
                    raise
                damaged[number] = str(error)
                continue
            return np.asarray(self._transformed(decoded, number, epoch))
        raise DataError(f"no image of the class of {images.encoded.name(index)} can be decoded: replace them")

    def _transformed(self, image: Image.Image, index: int, epoch: int | None) -> Any:
        if self._vary is None or epoch is None:
            return self._evaluate(image)
        with self._seeded(index, epoch):
            return self._vary(image)

    def _drafted(
        self, image: Image.Image, index: int, epoch: int | None, name: str, *, exif_rotation: bool
    ) -> npt.NDArray[np.uint8]:
        """The same of an opened JPEG, decoded no larger than is needed; without need for less it is exactly the same.

        The crop is drawn for the whole image, so that it does not depend on how much of it is decoded.
        """
        from torchvision.transforms.v2.functional import center_crop, resize, resized_crop  # as above

        width, height = upright_size(image, exif_rotation=exif_rotation)
        square = [self._size, self._size]
        if self._vary is None or epoch is None:
            shorter = round(self._size * _RESIZE_RATIO)
            shrink(image, shorter / min(width, height))
            decoded = decode(image, CHANNELS, name, exif_rotation=exif_rotation)
            sides = [max(shorter, int(shorter * side / min(width, height))) for side in (height, width)]
            return np.asarray(center_crop(resize(decoded, sides, antialias=True), square))
        crop, flip = self._vary.transforms
        with self._seeded(index, epoch):
            part = crop.make_params([torch.empty((1, height, width), device="meta")])
            shrink(image, self._size / min(part["width"], part["height"]))
            decoded = decode(image, CHANNELS, name, exif_rotation=exif_rotation)
            across, up = decoded.width / width, decoded.height / height
            box = [part["top"] * up, part["left"] * across, part["height"] * up, part["width"] * across]
            top, left, tall, wide = map(round, box)
            return np.asarray(flip(resized_crop(decoded, top, left, max(1, tall), max(1, wide), square)))

    @contextmanager
    def _seeded(self, index: int, epoch: int) -> Iterator[None]:
        key = np.random.SeedSequence((self._seed, epoch, index, _STREAM)).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator
            torch.default_generator.manual_seed(int(key[0]))
            yield


def _stand_ins(images: StreamedImages, index: int) -> Iterator[int]:
    """The image itself, then the others of its class, from the next one on."""
    yield index
    same = np.flatnonzero(images.labels == images.labels[index])
    yield from np.roll(same, -int(np.searchsorted(same, index)))[1:].tolist()
