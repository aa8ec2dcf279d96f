"""Which images a run uses and how they are divided."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Annotated, Any

from annotated_types import Ge

from multinas_ray.data.sources import DataSource, source_class
from multinas_ray.errors import ConfigError
from multinas_ray.settings import Flag, NonNegativeInt, checked

READING_SETTINGS = ("path", "strict", "in_memory", "decode_processes", "download")
"""Settings that are the source's own; it takes those that it has fields for."""
MACHINE_SETTINGS = ("path", "strict", "decode_processes", "download")
"""Settings that the same images may have otherwise on another machine."""


@checked
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Names a source of images and fixes its splits; equal configs give equal splits on every machine.

    Raises:
        ConfigError: A field breaks the rule in its docstring.
    """

    source: str = "digits"
    """`digits`: 1,797 handwritten digits, 1x8x8, inside scikit-learn. `cifar10`: 60,000 photos, 3x32x32.
    `folder`: one's own images, a folder for each class. `webdataset`: tar files as the library webdataset writes them.
    Or one that `register_source` has made known."""

    path: Annotated[str | None, Flag("data", metavar="DIR")] = None
    """Folder of CIFAR-10: the root given to torchvision (it holds `cifar-10-batches-py`), or a folder with
    `train.parquet` and `test.parquet` (columns `image`: encoded JPEG or PNG, `label`: 0..9). Of `folder`:
    `train/<class>/*` beside `val/<class>/*` or `test/<class>/*`, or `<class>/*` alone (see `tree.scan_tree`). Of
    `webdataset`: the folder of the tar files (see `webdataset.WebDatasetSource`). None for digits."""

    validation_fraction: float = 0.2
    """Share of the training images set apart for validation, above 0 and below 1. The search judges
    architectures on these images only; DARTS uses 0.5. Not used where a folder holds train, val and test."""

    split_seed: NonNegativeInt = 0
    """Seed of the validation split and of `max_train_images`, at least 0. Apart from the search's seed."""

    max_train_images: Annotated[int, Ge(2)] | None = None
    """Keep at most this many training images, the same share of each class, before the validation split;
    at least 2. None keeps all. The test images are never reduced."""

    image_size: Annotated[int, Ge(4)] | None = None
    """Height and width in pixels to scale the images down to (antialiased), at least 4. None keeps them.
    Images of a folder differ in size: the shorter side is scaled, up or down, and the middle square cut out;
    None takes the median of the shorter sides, at most 64."""

    horizontal_flip: bool = True
    """Mirror half of the training images. False where left and right differ: letters, signs, road scenes."""

    strict: bool = False
    """Stop at the first image of a folder that cannot be decoded. False names such files in the log and goes on
    without them (in memory), or with another image of the class in their place."""

    in_memory: bool = True
    """Decode all images of a folder at the start. False: read and decode them when they are needed, in processes of
    their own (RGB, random crops of random size, image_size 224 unless set): for sets that do not fit, as ImageNet.
    `path` may then also be that of `write_image_shards`, local or s3://."""

    decode_processes: NonNegativeInt | None = None
    """Processes that decode images for each stream of a worker, where they are not in memory; 0: the worker itself;
    None: the machine's cores shared by the workers on it."""

    download: bool = False
    """Let torchvision download CIFAR-10 (170 MB) into `path` if it is not there."""

    source_options: Mapping[str, Any] = field(default_factory=dict)
    """Settings that only this source has, by name; see its class. None of the package's own sources has any."""

    def __post_init__(self) -> None:
        """Check what belongs together before anything is read."""
        from multinas_ray.storage import resolve  # here, so that reading the settings loads no pyarrow

        if self.path is not None:
            resolve(self.path)  # it is well formed and holds no credentials: the path is recorded
        if not 0 < self.validation_fraction < 1:
            raise ConfigError(
                f"validation_fraction must lie above 0 and below 1, got {self.validation_fraction}; "
                "0.2 keeps four images in five for training"
            )
        _ = self.reader

    @cached_property
    def reader(self) -> DataSource:
        """The source with its settings; it reads the images."""
        kind = source_class(self.source)
        takes = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]  # sources are dataclasses
        given: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name not in READING_SETTINGS or value == each.default:
                continue
            if each.name not in takes:
                raise ConfigError(f"the source {self.source!r} takes no {each.name}, got {value!r}; leave it out")
            given[each.name] = value
        if "path" in takes and "path" not in given:
            raise ConfigError(f"the source {self.source!r} needs path, the place of its images; give it")
        return kind(**given, **self.source_options)

    def identity(self) -> dict[str, Any]:
        """What decides which images there are and how they are divided; not where they lie and how they are read."""
        machine_options = self.reader.machine_options
        options = {name: value for name, value in self.source_options.items() if name not in machine_options}
        settings = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in MACHINE_SETTINGS}
        return {**settings, "source_options": options}
