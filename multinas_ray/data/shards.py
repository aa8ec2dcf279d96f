"""A tree of images as Parquet files, on a disk or in an object store: written once and read in pieces.

`index.parquet` has a row for each image: its split, name, label, and place (file, row group, row); its metadata has the
classes and how many files of the tree were left out and why. The other files have
the encoded images in mixed order, in row groups that are read in one request each.
"""

# n images

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from multinas_ray.data.class_files import shown
from multinas_ray.data.decoding import Encoded
from multinas_ray.data.left_out import LeftOut
from multinas_ray.data.listing import ImageListing
from multinas_ray.data.progress import image_progress
from multinas_ray.data.resizing import made_smaller
from multinas_ray.data.tree import scan_tree
from multinas_ray.errors import ConfigError, DataError, RunError, StateError
from multinas_ray.settings import PositiveInt, checked_arguments
from multinas_ray.storage import (
    Location,
    RowGroupReader,
    exists,
    make_folder,
    read_parquet,
    resolve,
    write_parquet,
    write_row_groups,
)

INDEX_FILE = "index.parquet"
SHARDS_VERSION = "2"
_CLASSES, _VERSION = b"multinas_ray.class_names", b"multinas_ray.shards_version"
_LEFT_OUT = b"multinas_ray.left_out"
_CLASS_SEPARATOR = "/"  # no folder name contains it
_SPLITS = ("train", "validation", "test")
_MOST = 2**20
"""Largest number of files, row groups of a file, and rows of a row group [ours]."""
_READERS = 16
_OPEN_FILES = 64
_KEPT_BYTES = 512 * 2**20  # of the last pieces that a process has read
_INDEX_SCHEMA = pa.schema(
    [
        ("split", pa.dictionary(pa.int8(), pa.string())),
        ("name", pa.string()),
        ("label", pa.int64()),
        ("file", pa.int32()),
        ("row_group", pa.int32()),
        ("row", pa.int32()),
    ]
)


class PieceReader:
    """Reads images from row groups and keeps the last groups in memory. A pickled copy starts without any.

    Args:
        place: The folder of the files.
    """

    def __init__(self, place: Location) -> None:
        self._place = place
        self._clear()

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[int, RowGroupReader] = OrderedDict()
        self._pieces: OrderedDict[tuple[int, int], pa.ChunkedArray] = OrderedDict()
        self._num_bytes = 0

    def __getstate__(self) -> Location:
        return self._place

    def __setstate__(self, place: Location) -> None:
        self._place = place
        self._clear()

    def read(self, file: int, row_group: int, row: int) -> bytes:
        """Return an encoded image.

        Raises:
            RunError: The file cannot be read.
        """
        with self._lock:
            piece = self._pieces.pop((file, row_group), None)
            if piece is None:
                piece = self._read_piece(file, row_group)
                self._num_bytes += piece.nbytes
            self._pieces[file, row_group] = piece
            while self._num_bytes > _KEPT_BYTES and len(self._pieces) > 1:
                self._num_bytes -= self._pieces.popitem(last=False)[1].nbytes
        if row >= len(piece):
            raise RunError(f"{self.path(file)} has no row {row} in row group {row_group}: write the shards again")
        image: bytes = piece[row].as_py()
        return image

    def path(self, file: int) -> Location:
        """The file with this number."""
        return self._place.join(shard_name(file))

    def _read_piece(self, file: int, row_group: int) -> pa.ChunkedArray:
        try:
            opened = self._files.pop(file, None) or RowGroupReader(self.path(file))
            self._files[file] = opened
            while len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)[1].close()
            piece = opened.read(row_group, ["image"])["image"]
        except StateError as error:
            raise RunError(f"{error}, or write the shards again") from error
        if piece.type != pa.binary() or piece.null_count:
            raise RunError(f"{self.path(file)} does not have images in its column image: write the shards again")
        return piece


@dataclass(frozen=True, eq=False)
class ImageShards:
    """Labelled images in Parquet files, read in pieces of a few dozen."""

    reader: PieceReader
    """Reads them."""

    names: npt.NDArray[np.bytes_]
    """(n,) names of their files in the original tree."""

    labels: npt.NDArray[np.int64]
    """(n,) class of each image, from 0."""

    where: npt.NDArray[np.int32]
    """(n, 3) file, row group and row."""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def groups(self) -> npt.NDArray[np.int64]:
        """(n,) number of the row group of each image."""
        file, row_group = self.where[:, 0].astype(np.int64), self.where[:, 1]
        inverse: npt.NDArray[np.int64]
        _, inverse = np.unique(file * (int(row_group.max(initial=0)) + 1) + row_group, return_inverse=True)
        return inverse

    def name(self, index: int) -> str:
        """Return the file of image `index` and the image's name in its tree."""
        return f"{self.reader.path(int(self.where[index, 0]))}:{shown(os.fsdecode(self.names[index]))}"

    def read(self, index: int) -> bytes:
        """Return the encoded image `index`.

        Raises:
            RunError: The file of the image cannot be read.
        """
        return self.reader.read(*self.where[index].tolist())

    def select(self, index: npt.NDArray[np.int64]) -> "ImageShards":
        """Return the images at `index`, in its order."""
        return ImageShards(self.reader, self.names[index], self.labels[index], self.where[index])

    def join(self, other: "ImageShards") -> "ImageShards":
        """Return these images, then the others of the same shards."""
        names, labels = np.concatenate([self.names, other.names]), np.concatenate([self.labels, other.labels])
        return ImageShards(self.reader, names, labels, np.concatenate([self.where, other.where]))


@checked_arguments
def scan_images(path: str) -> ImageListing:
    """List the images at a path: those of shards if it has an index, otherwise those of a tree of files.

    Raises:
        DataError: There are neither shards nor a tree, or they cannot be used; the message says what is wrong.
    """
    place = resolve(path)
    if not exists(place.join(INDEX_FILE)):
        if not place.is_local:
            raise DataError(
                f"images in an object store must be shards, {place} has no {INDEX_FILE}: write them with "
                "write_image_shards, or wait until it has finished"
            )
        return scan_tree(place.path)
    return _scan_shards(place)


def _scan_shards(place: Location) -> ImageListing:
    try:
        index = read_parquet(place.join(INDEX_FILE))
    except StateError as error:
        raise DataError(f"{error}, or write the shards again") from error
    metadata = index.schema.metadata or {}
    if metadata.get(_VERSION) != SHARDS_VERSION.encode():
        raise DataError(f"{INDEX_FILE} in {place} must have version {SHARDS_VERSION}: write the shards again")
    class_names = tuple(metadata.get(_CLASSES, b"").decode(errors="replace").split(_CLASS_SEPARATOR))
    if (problem := _index_problem(index, len(class_names))) is not None:
        raise DataError(f"{INDEX_FILE} in {place} is damaged ({problem}): write the shards again")
    reader, of_split = PieceReader(place), np.asarray(index["split"].cast(pa.string()))
    names = np.array([os.fsencode(name) for name in index["name"].to_pylist()])
    where = np.stack([np.asarray(index[column]) for column in ("file", "row_group", "row")], axis=1)
    everything = ImageShards(reader, names, np.asarray(index["label"]), where)
    parts = {split: everything.select(np.flatnonzero(of_split == split)) for split in _SPLITS}
    train, validation, test = (part if len(part) else None for part in parts.values())
    if train is None:
        raise DataError(f"{place} has no training images: write the shards again")
    try:
        left_out = tuple(LeftOut(**each) for each in json.loads(metadata[_LEFT_OUT]))
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{INDEX_FILE} in {place} is damaged ({error}): write the shards again") from error
    return ImageListing(train, validation, test, class_names, left_out)


def _index_problem(index: pa.Table, num_classes: int) -> str | None:
    """What is wrong with the rows of an index; None if nothing is."""
    if not index.schema.equals(_INDEX_SCHEMA):
        return f"it has other columns than {', '.join(_INDEX_SCHEMA.names)}"
    if any(index[name].null_count for name in _INDEX_SCHEMA.names):
        return "a value is missing"
    if not {*index["split"].cast(pa.string()).unique().to_pylist()} <= {*_SPLITS}:
        return f"a split is none of {', '.join(_SPLITS)}"
    for name, most in {"label": num_classes - 1, "file": _MOST, "row_group": _MOST, "row": _MOST}.items():
        found = pc.min_max(index[name]).as_py()
        if len(index) and not 0 <= found["min"] <= found["max"] <= most:
            return f"{name} must be from 0 to {most}, got {found['min']} to {found['max']}"
    return None


def shard_name(file: int) -> str:
    """Name of the file with this number."""
    return f"images-{file:05d}.parquet"


@checked_arguments
def write_image_shards(
    folder: str,
    destination: str,
    *,
    images_per_file: int = 8192,
    images_per_group: int = 64,
    seed: int = 0,
    resize: PositiveInt | None = None,
) -> int:
    """Write a tree of image files as Parquet files, without decoding them; the images of each split are mixed.

    Args:
        folder: The tree, see `tree.scan_tree`.
        destination: Folder without shards: a local path or a URI such as s3://bucket/folder.
        images_per_file: Largest number of images in one file; 8,192 images of ImageNet are about 900 MB.
        images_per_group: Images that are read in one piece [ours]; 64 images of ImageNet are about 7 MB.
        seed: Seed of the mixing.
        resize: Pixels of the shorter side, to which larger images are made smaller once, as JPEGs of quality 95; None:
            all images are copied unchanged. Trainings then read fewer bytes and decode fewer pixels, which are not
            exactly those that they would have scaled themselves. 256 is usual for networks that take 224 pixels.

    Returns:
        Number of images written.

    Raises:
        ConfigError: A number is below 1, or the destination has shards already.
        DataError: The tree cannot be used, or a file cannot be read.
    """
    if min(images_per_file, images_per_group) < 1:
        raise ConfigError(
            f"images_per_file and images_per_group must be at least 1, got {images_per_file} and {images_per_group}"
        )
    tree, place = scan_tree(folder), resolve(destination)
    if exists(place.join(INDEX_FILE)):
        raise ConfigError(f"{place} has image shards already: choose another folder, or delete them")
    make_folder(place)
    parts = {split: part for split in _SPLITS if (part := getattr(tree, split)) is not None}
    rows: list[pa.Table] = []
    file = 0
    with image_progress(total := sum(map(len, parts.values()))) as progress:
        bar = progress.add_task("Writing images", total=total)
        for split, part in parts.items():
            order = np.random.default_rng(seed).permutation(len(part))
            for start in range(0, len(part), images_per_file):
                chosen = order[start : start + images_per_file]
                for done in _write_file(place.join(shard_name(file)), part, chosen, images_per_group, resize):
                    progress.update(bar, advance=done)
                names = [_relative(part.name(number), folder) for number in chosen.tolist()]
                rows.append(_index_rows(split, names, part.labels[chosen], file, images_per_group))
                file += 1
    metadata = {
        _VERSION: SHARDS_VERSION,
        _CLASSES: _CLASS_SEPARATOR.join(tree.class_names).encode(),
        _LEFT_OUT: json.dumps([asdict(each) for each in tree.left_out]),
    }
    index = pa.concat_tables(rows).replace_schema_metadata(metadata)
    write_parquet(place.join(INDEX_FILE), index)  # written last, so that only complete shards have an index
    return total


def _write_file(
    file: Location, images: Encoded, chosen: npt.NDArray[np.int64], images_per_group: int, resize: int | None
) -> Iterator[int]:
    """Write one file group by group; yields the number of images of each row group when it is written."""
    schema = pa.schema([("image", pa.binary()), ("label", pa.int64())])

    def content(number: int) -> bytes:
        try:
            found = images.read(number)
        except OSError as error:
            raise DataError(f"{images.name(number)} cannot be read ({error.strerror}): repair or remove it") from error
        return found if resize is None else made_smaller(found, resize)

    with (
        write_row_groups(file, schema) as writer,
        ThreadPoolExecutor(_READERS) as pool,
    ):
        for start in range(0, len(chosen), images_per_group):
            group = chosen[start : start + images_per_group]
            columns = {"image": list(pool.map(content, group.tolist())), "label": images.labels[group]}
            writer.write_table(pa.table(columns, schema=schema), row_group_size=images_per_group)
            yield len(group)


def _relative(name: str, folder: str) -> str:
    """A file's name below the tree's root."""
    return name.removeprefix(shown(str(Path(folder))) + os.sep)


def _index_rows(
    split: str, names: list[str], labels: npt.NDArray[np.int64], file: int, images_per_group: int
) -> pa.Table:
    row_group, row = np.divmod(np.arange(len(names), dtype=np.int32), images_per_group)
    columns = {
        "split": pa.array([split] * len(names)).cast(_INDEX_SCHEMA.field("split").type),
        "name": names,
        "label": labels,
        "file": np.full(len(names), file, dtype=np.int32),
        "row_group": row_group,
        "row": row,
    }
    return pa.table(columns, schema=_INDEX_SCHEMA)
