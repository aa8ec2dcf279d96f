"""Images in tar files with WebDataset's layout: the files of one sample side by side, under one key."""

# n images, F tar files

import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from multinas_ray.data.class_files import IMAGE_EXTENSIONS, composed, shown
from multinas_ray.data.encoded_source import EncodedSource
from multinas_ray.data.listing import ImageListing
from multinas_ray.data.sources import register_source
from multinas_ray.data.split_names import KNOWN_SPLIT_NAMES, read_split_name
from multinas_ray.errors import ConfigError, DataError
from multinas_ray.settings import checked
from multinas_ray.storage import resolve

CLASSES_FILE = "classes.txt"
"""File beside the tar files with the names of classes whose labels are numbers, one per line, from 0."""


@register_source
@checked
@dataclass(frozen=True, kw_only=True)
class WebDatasetSource(EncodedSource):
    """A folder of uncompressed tar files, as the library webdataset writes and reads them.

    In a tar file, `<key>.jpg` (or another image extension) and `<key>.cls` make a sample; `.cls` has its label as
    text, a whole number or a name. The split of a tar file is taken from its folder or from its name, as in
    `val/000000.tar` and `birds-train-000000.tar`; other usual names of splits are known, as for a tree of files. If no
    name has a split, all images are training images. The splits have the same meaning as for a tree of files, see
    `tree.scan_tree`. Images are read in place, so the tar files must be on a disk or mounted.
    """

    kind: ClassVar[str] = "webdataset"

    label_extension: str = "cls"
    """Extension of the file with a sample's label."""

    def listing(self) -> ImageListing:
        """Go through the tar files once, from header to header; no image is read.

        Raises:
            ConfigError: The path is a URI.
            DataError: There are no tar files, one cannot be read, or an image has no label or an unknown one.
        """
        place = resolve(self.path)
        if not place.is_local:
            raise ConfigError(f"tar files must be on a disk, got {place}: mount the bucket or copy them")
        folder = Path(place)
        files_of = _tar_files(folder)
        files = tuple(file for each in files_of.values() for file in each)
        read = {file: _read_headers(file, self.label_extension) for file in files}
        class_names, number_of = _classes(folder, [read[file] for file in files_of["train"]])
        parts = {split: _images(files, own, read, number_of) for split, own in files_of.items()}
        if "test" not in parts:  # if there are only two splits, the second one has the test images
            return ImageListing(parts["train"], None, parts.get("validation"), class_names)
        return ImageListing(parts["train"], parts.get("validation"), parts["test"], class_names)


@dataclass(frozen=True, eq=False)
class TarImages:
    """Labelled images in tar files, not opened yet; a million of them take about 60 MB."""

    files: tuple[Path, ...]
    """(F,) all tar files of the source."""

    members: npt.NDArray[np.bytes_]
    """(n,) name of each image in its tar file, in the file system's encoding."""

    spans: npt.NDArray[np.int64]
    """(n, 3) number of the tar file, first byte and number of bytes of each image."""

    labels: npt.NDArray[np.int64]
    """(n,) class of each image, from 0."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def groups(self) -> None:
        """Images are read one by one, in any order."""

    def name(self, index: int) -> str:
        """Return the tar file of image `index` and the image's name in it."""
        return f"{self.files[self.spans[index, 0]]}:{shown(os.fsdecode(self.members[index]))}"

    def read(self, index: int) -> bytes:
        """Return the content of image `index`.

        Raises:
            OSError: The tar file cannot be read.
        """
        number, offset, size = map(int, self.spans[index])
        with self.files[number].open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def select(self, index: npt.NDArray[np.int64]) -> "TarImages":
        """Return the images at `index`, in its order."""
        return replace(self, members=self.members[index], spans=self.spans[index], labels=self.labels[index])

    def join(self, other: "TarImages") -> "TarImages":
        """Return these images, then the others of the same source."""
        return replace(
            self,
            members=np.concatenate([self.members, other.members]),
            spans=np.concatenate([self.spans, other.spans]),
            labels=np.concatenate([self.labels, other.labels]),
        )


_READ_BYTES = 2**20


class _Headers(NamedTuple):
    """The headers of one tar file, and the labels in it."""

    members: npt.NDArray[np.bytes_]
    spans: npt.NDArray[np.int64]  # (n, 2) first byte and number of bytes
    labels: list[str]


def _tar_files(folder: Path) -> dict[str, list[Path]]:
    """The tar files of each split, sorted."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: give the folder that holds the tar files")
    files = sorted(folder.rglob("*.tar"))
    if not files:
        raise DataError(f"{folder} has no tar files (*.tar): give the folder that holds them")
    splits = [_split_of(file.relative_to(folder)) for file in files]
    if not any(splits):
        return {"train": files}
    found: dict[str, list[Path]] = {}
    for file, split in zip(files, splits, strict=True):
        if split is None:
            raise DataError(
                f"the name of each tar file must tell its split, as others do, that of {file} does not: put one of "
                f"{KNOWN_SPLIT_NAMES} into it, or remove the file"
            )
        found.setdefault(split, []).append(file)
    if "train" not in found:
        raise DataError(f"{folder} has no tar files for training: put 'train' into their names")
    return found


def _split_of(path: Path) -> str | None:
    """The split by the first folder of a path, or else by the name of its file."""
    folder = path.parts[0] if len(path.parts) > 1 else ""
    found = read_split_name(folder) or read_split_name(path.stem)
    return None if found is None else found.split


def _read_headers(file: Path, label_extension: str) -> _Headers:
    images, labels = _read_members(file, label_extension)
    num_bytes = file.stat().st_size
    for key, image in images.items():
        if not labels.get(key):
            raise DataError(
                f"{image.name} in {file} has no label: put it into {key}.{label_extension}, or set label_extension"
            )
        if image.offset_data + image.size > num_bytes:
            raise DataError(f"{file} ends within {image.name}: copy it again")
    return _Headers(
        members=np.array([os.fsencode(image.name) for image in images.values()], dtype=np.bytes_),
        spans=np.array([(image.offset_data, image.size) for image in images.values()], dtype=np.int64).reshape(-1, 2),
        labels=[labels[key] for key in images],
    )


def _read_members(file: Path, label_extension: str) -> tuple[dict[str, tarfile.TarInfo], dict[str, str]]:
    """The images and the labels of a tar file, by their keys."""
    images: dict[str, tarfile.TarInfo] = {}
    labels: dict[str, str] = {}
    try:
        with tarfile.open(file, "r:") as archive:
            for member in archive:
                key, extension = _key_and_extension(member.name)
                if member.isfile() and f".{extension}" in IMAGE_EXTENSIONS:
                    images.setdefault(key, member)
                elif member.isfile() and extension == label_extension.lower():
                    content = archive.extractfile(member)
                    text = b"" if content is None else content.read()
                    labels[key] = composed(text.decode("utf-8", "replace").strip())
            end = archive.offset
        _check_end(file, end)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(
            f"{file} cannot be read as a tar file ({error}): copy it again, and unpack it if it is compressed"
        ) from error
    return images, labels


def _check_end(file: Path, end: int) -> None:
    """Check that after the last header that was read there is the mark of the end and nothing else.

    Python's tarfile takes a damaged header, or a file that was cut between two members, for the end.

    Raises:
        tarfile.TarError: There is something else.
    """
    with file.open("rb") as stream:
        stream.seek(end)
        blocks = iter(lambda: stream.read(_READ_BYTES), b"")
        first = next(blocks, b"")
        if len(first) < tarfile.BLOCKSIZE or any(map(any, (first, *blocks))):
            raise tarfile.ReadError(f"damaged or cut off after byte {end}")


def _key_and_extension(name: str) -> tuple[str, str]:
    """WebDataset's key and extension. The extension begins after the first dot of the name; hidden files have none."""
    folder, slash, base = name.rpartition("/")
    key, _, extension = base.partition(".")
    return folder + slash + key, extension.lower() if key else ""


def _classes(folder: Path, training: Iterable[_Headers]) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the classes, and the number of each label of the training images."""
    labels = sorted({label for headers in training for label in headers.labels})
    if len(labels) < 2:
        raise DataError(
            f"the training images in {folder} must be of at least two classes, got {len(labels)}: add images of others"
        )
    if unclear := [label for label in labels if not label.isprintable()]:
        raise DataError(f"a label must be of printable characters, got {unclear[0]!r} in {folder}: correct it")
    if not all(label.isdecimal() for label in labels):
        return tuple(labels), {label: number for number, label in enumerate(labels)}
    number_of = {label: int(label) for label in labels}
    _check_numbers(folder, set(number_of.values()))
    return _names_of_numbers(folder, len(set(number_of.values()))), number_of


def _check_numbers(folder: Path, numbers: Set[int]) -> None:
    """Check that labels that are numbers count the classes from 0."""
    gap = next((number for number in range(len(numbers)) if number not in numbers), None)
    if gap is not None:
        raise DataError(
            f"labels that are numbers must be 0, 1, 2, ... without a gap, no training image in {folder} has {gap}, the "
            f"largest is {max(numbers)}: number the classes anew, or write names as labels"
        )


def _names_of_numbers(folder: Path, count: int) -> tuple[str, ...]:
    """The names of classes whose labels are numbers: the lines of `CLASSES_FILE`, or else the numbers themselves."""
    told = folder / CLASSES_FILE
    if not told.is_file():
        return tuple(str(number) for number in range(count))
    lines = tuple(composed(told.read_bytes().decode("utf-8", "replace")).splitlines())
    if len(lines) != count:
        raise DataError(
            f"{told} must have a line for each of the {count} labels, got {len(lines)}: name each class on one line"
        )
    if unclear := [each for each in lines if not each.strip() or not each.isprintable()]:
        raise DataError(f"a line of {told} must be a name of printable characters, got {unclear[0]!r}: correct it")
    if twice := [each for number, each in enumerate(lines) if each in lines[:number]]:
        raise DataError(f"{told} must name each class once, {twice[0]!r} is there again: correct it")
    return lines


def _images(
    files: Sequence[Path], own: Sequence[Path], read: Mapping[Path, _Headers], number_of: Mapping[str, int]
) -> TarImages:
    """The images of one split, whose files are `own`."""
    spans, labels = [], []
    for file in own:
        unknown = [label for label in read[file].labels if label not in number_of]
        if unknown:
            raise DataError(
                f"{file} has the label {unknown[0]!r}, which no training image has: correct it, or add training images"
            )
        numbers = np.full((len(read[file].labels), 1), files.index(file))
        spans.append(np.concatenate([numbers, read[file].spans], axis=1))
        labels += [number_of[label] for label in read[file].labels]
    members = np.concatenate([read[file].members for file in own])
    return TarImages(tuple(files), members, np.concatenate(spans), np.array(labels, dtype=np.int64))
