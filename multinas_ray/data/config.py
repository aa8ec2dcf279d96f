"""Which images a run uses and how they are divided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Annotated, Any

from annotated_types import Ge

from multinas_ray.data.machine import usable_cores
from multinas_ray.data.sources import DataSource, source_class
from multinas_ray.errors import ConfigError
from multinas_ray.settings import Flag, NonNegativeInt, checked
from multinas_ray.spaces import Structure
from multinas_ray.storage import GivenPath

READING_SETTINGS = ("path", "strict", "in_memory", "decode_processes", "download", "exif_rotation", "draft_decoding")
"""Settings that belong to the source; a source takes those for which it has fields."""
MACHINE_SETTINGS = ("path", "strict", "decode_processes", "download")
"""Settings that may differ between machines although the images are the same."""

PREFETCHED_BATCHES = 2
"""Number of batches that each process decodes ahead."""


@checked
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Names a source of images and fixes its splits; equal configs give equal splits on every machine.

    Raises:
        ConfigError: A field breaks the rule in its docstring.
    """

    source: str = "digits"
    """Name of the source. `digits`: 1,797 handwritten digits, 1x8x8, which come with scikit-learn. `cifar10`: 60,000
    photos, 3x32x32. `folder`: your own images, with a folder for each class. `webdataset`: tar files as the library
    webdataset writes them. A source that was registered by `register_source` can be named too."""

    path: Annotated[GivenPath | None, Flag("data", metavar="DIR")] = None
    """Place of the images. For `cifar10`: the root given to torchvision (which has `cifar-10-batches-py`), or a folder
    with `train.parquet` and `test.parquet` (columns `image`: encoded JPEG or PNG, `label`: 0..9). For `folder`: a
    folder with `train/<class>/*` and `val/<class>/*` or `test/<class>/*`, or with `<class>/*` alone; other usual names
    of splits are known (see `tree.scan_tree`). For `webdataset`: the folder of the tar files (see
    `webdataset.WebDatasetSource`). None for `digits`."""

    validation_fraction: float = 0.2
    """Share of the training images that is set apart for validation, above 0 and below 1. The search judges
    architectures on these images only; DARTS uses 0.5. It is not used if a folder has train, val and test."""

    split_seed: NonNegativeInt = 0
    """Seed of the validation split and of `max_train_images`, at least 0. It is independent of the search's seed."""

    max_train_images: Annotated[int, Ge(2)] | None = None
    """Largest number of training images to keep, at least 2. They are chosen before the validation split, with the same
    share of each class. None keeps all. The test images are never reduced."""

    image_size: Annotated[int, Ge(4)] | None = None
    """Height and width in pixels to which images are scaled down (antialiased), at least 4. None keeps the size. Images
    of a folder differ in size: their shorter side is scaled up or down and the middle square is cut out; there, None
    takes the median of the shorter sides, at most 64."""

    horizontal_flip: bool | None = None
    """Mirror half of the training images. Set it to False where left and right differ, as in letters, signs and road
    scenes. None becomes what suits the source: False for `digits`, True for photos."""

    strict: bool = False
    """Stop at the first image of a folder that cannot be decoded. If False, such files are named in the log; they are
    left out (in memory) or replaced by another image of the class (otherwise)."""

    in_memory: bool = True
    """Decode all images of a folder at the start. If False, images are read and decoded when they are needed, by
    separate processes (in RGB, with random crops of random size, and image_size 224 unless it is set). That is for sets
    that do not fit into memory, such as ImageNet; `path` may then also be that of `write_image_shards`, local or
    s3://."""

    decode_processes: NonNegativeInt | None = None
    """Number of processes that decode images for each stream of a worker, if the images are not in memory. 0: the
    worker decodes them itself. None: as many as cores that its container and its affinity leave it, shared by the
    workers on its node."""

    exif_rotation: bool = True
    """Turn photos of a folder or of tar files upright, as cameras say in their EXIF data how they were held. False
    takes them as they are stored; TIFF files are always turned, since Pillow does so."""

    draft_decoding: bool = False
    """Decode JPEGs that are not in memory at a half, quarter or eighth of their size, where the part of the image that
    is used still has the pixels that are wanted. That saves time with large photos and changes the pixels a little.
    (Images in memory are always decoded so, at twice the wanted size or more.)"""

    download: bool = False
    """Let torchvision download CIFAR-10 (170 MB) into `path` if it is missing."""

    source_options: Mapping[str, Any] = field(default_factory=dict)
    """Settings that only this source has, by name; see its class. Of the package's own sources, `webdataset` has one,
    `label_extension`."""

    def __post_init__(self) -> None:
        """Check that the settings fit together, before anything is read."""
        may_flip = source_class(self.source).may_flip
        if self.horizontal_flip is None:  # so that records and reports tell what is done
            object.__setattr__(self, "horizontal_flip", may_flip)
        elif self.horizontal_flip and not may_flip:
            raise ConfigError(f"images of the source {self.source!r} are never mirrored: leave horizontal_flip out")
        if not 0 < self.validation_fraction < 1:
            raise ConfigError(
                f"validation_fraction must be above 0 and below 1, got {self.validation_fraction}: "
                "use 0.2, for example, to keep four images in five for training"
            )
        if self.draft_decoding and self.in_memory:
            raise ConfigError(
                "draft_decoding must be False where in_memory is True, got True: set in_memory=False, or leave it"
            )
        _ = self.reader

    @property
    def mirrors(self) -> bool:
        """Whether half of the training images are mirrored."""
        return bool(self.horizontal_flip)

    @property
    def has_images(self) -> bool:
        """Whether the samples are images with classes."""
        return self.reader.has_images

    @cached_property
    def reader(self) -> DataSource:
        """The source with its settings, which reads the images."""
        kind = source_class(self.source)
        takes = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]  # sources are dataclasses
        given: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in READING_SETTINGS or value == each.default:
                continue
            if each.name not in takes:
                raise ConfigError(f"the source {self.source!r} has no setting {each.name}, got {value!r}: leave it out")
            given[each.name] = value
        if "path" in takes and "path" not in given:
            raise ConfigError(f"the source {self.source!r} must have a path, the place of its images: set path")
        if twice := [name for name in self.source_options if name in READING_SETTINGS]:
            raise ConfigError(
                f"source_options must hold only settings that DataConfig does not have itself, got {', '.join(twice)}: "
                "leave it out, and use the setting of DataConfig"
            )
        return kind(**given, **self.source_options)

    def following(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What another source changes beside itself: settings that it does not have, and those that it sets itself.

        So each source can be asked for where another one was set. A flip that was turned off stays off.
        """
        source = changes.get("source", self.source)
        if source == self.source:
            return {}
        kind = source_class(source)
        takes = {each.name for each in fields(kind)}  # type: ignore[arg-type]  # sources are dataclasses
        lost = {each.name: each.default for each in fields(self) if each.name in set(READING_SETTINGS) - takes}
        is_off = self.horizontal_flip is False and source_class(self.source).may_flip
        return {**lost, "source_options": {}, "horizontal_flip": False if is_off else None}

    def shared_by(self, workers: int) -> DataConfig:
        """The settings for one of several workers of a node, which share its cores for decoding. Call it there."""
        if self.decode_processes is not None or not hasattr(self.reader, "decode_processes"):
            return self
        return replace(self, decode_processes=max(1, usable_cores() // workers))

    def decoded_bytes(self, images: int, inputs: Structure) -> int:
        """Bytes of images that a decoding process has in shared memory, at most; 0 if no process decodes.

        Args:
            images: images of a worker's shard, or of its shards of several streams.
            inputs: the structure of an image, such as "float32[3, 224, 224]"; a decoded number takes a byte.
        """
        if not hasattr(self.reader, "decode_processes") or self.in_memory or self.decode_processes == 0:
            return 0
        from multinas_ray.data.structures import batch_of  # here, since settings load no torch

        return (PREFETCHED_BATCHES + 1) * images * int(batch_of(inputs, 1).numel())

    def identity(self) -> dict[str, Any]:
        """The settings that decide which images there are and how they are divided, without those of reading them."""
        machine_options = self.reader.machine_options
        options = {name: value for name, value in self.source_options.items() if name not in machine_options}
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in MACHINE_SETTINGS}
        for name in ("exif_rotation", "draft_decoding"):
            if not hasattr(self.reader, name):
                del settings[name]
        return {**settings, "source_options": options}
