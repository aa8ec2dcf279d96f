"""Validation or test images that are among the training images: networks know them, so that figures of them say little.

Only a sample is compared, so that it takes parts of a second for sources of any size.
"""

# n images

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from multinas_ray.data.class_files import composed
from multinas_ray.data.decoding import Encoded
from multinas_ray.data.listing import ImageListing
from multinas_ray.errors import MultiNASError

_SAMPLED, _TRAINING_SAMPLED, _READ_OF_PIECES = 32, 500, 2  # images of a class, see copy_notes [ours]
_READERS = 16


def copy_notes(listing: ImageListing) -> tuple[str, ...]:
    """Tell of images of the source's own validation and test splits that are copies of training images.

    The first 32 of a split are compared with the first 500 training images of the same class, the class with the fewest
    training images of those that the split has; byte by byte, whatever their names. Where images are read in pieces,
    which takes long, those with the same name are compared, of which two pairs are read.

    Returns:
        A line for each split with copies.
    """
    notes = []
    for split, images in (("validation", listing.validation), ("test", listing.test)):
        if images is None or not len(images):
            continue
        own, training = _sampled(images, listing.train)
        same = _same_by_name if images.groups is not None else _same_by_content
        copies = same(images, own, listing.train, training)
        if copies:
            class_name = listing.class_names[int(images.labels[own[0]])]
            notes.append(
                f"of {len(own)} {split} images of class {class_name!r} that were looked at, {copies} are training "
                f"images too: keep them apart, or figures of the {split} images say little"
            )
    return tuple(notes)


def _sampled(images: Encoded, train: Encoded) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions of the images of a split and of the training images that are compared."""
    counts = np.bincount(train.labels, minlength=int(images.labels.max()) + 1).astype(np.float64)
    counts[np.setdiff1d(np.arange(len(counts)), images.labels)] = np.inf
    label = int(counts.argmin())
    own, training = (np.flatnonzero(each.labels == label) for each in (images, train))
    return own[:_SAMPLED], training[:_TRAINING_SAMPLED]


def _same_by_content(
    images: Encoded, own: npt.NDArray[np.int64], train: Encoded, training: npt.NDArray[np.int64]
) -> int:
    known = set(_digests(train, training.tolist())) - {None}
    return sum(each in known for each in _digests(images, own.tolist()))


def _same_by_name(images: Encoded, own: npt.NDArray[np.int64], train: Encoded, training: npt.NDArray[np.int64]) -> int:
    known = {_name(train, number): number for number in training.tolist()}
    pairs = [(number, known[name]) for number in own.tolist() if (name := _name(images, number)) in known]
    read = [_digests(images, [one]) == _digests(train, [other]) for one, other in pairs[:_READ_OF_PIECES]]
    return len(pairs) if all(read) else 0


def _name(images: Encoded, number: int) -> str:
    """The name of an image's file without its folders."""
    return composed(images.name(number).rpartition(os.sep)[2])


def _digests(images: Encoded, numbers: Iterable[int]) -> list[bytes | None]:
    """A digest of each image as it is encoded; None where it cannot be read, which is told elsewhere."""

    def digest(number: int) -> bytes | None:
        try:
            return blake2b(images.read(number), digest_size=16).digest()
        except (OSError, MultiNASError):
            return None

    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(digest, numbers))
