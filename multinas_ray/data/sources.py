"""Where images come from: the extension point of data sources."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from multinas_ray.registry import Registry

if TYPE_CHECKING:
    from multinas_ray.data.augmentation import Variation
    from multinas_ray.data.config import DataConfig
    from multinas_ray.data.images import DataSplits

SourceClass = TypeVar("SourceClass", bound="type[DataSource]")

_sources: Registry[type[DataSource]] = Registry(
    "data source",
    {
        "digits": "multinas_ray.data.digits",
        "cifar10": "multinas_ray.data.cifar",
        "folder": "multinas_ray.data.folder",
        "webdataset": "multinas_ray.data.webdataset",
    },
)


@dataclass(frozen=True)
class DataFacts:
    """What a search needs to know of images before they are decoded."""

    image_shape: tuple[int, int, int]
    """(C, H, W) that the images will have."""

    class_names: tuple[str, ...]
    """Name of each label."""

    num_train: int
    """Training images, the validation images left out."""

    num_validation: int
    """Images that architectures are judged on."""

    num_test: int
    """Images for the end."""


class DataSource(ABC):
    """A source of images with its settings.

    One of one's own is a frozen dataclass under two more decorators:

        @register_source
        @checked
        @dataclass(frozen=True, kw_only=True)
        class MyImages(DataSource):
            kind: ClassVar[str] = "mine"
            path: str
            shade: float = 1.0

            def load(self, config):
                return splits_in_memory(config, training, test, class_names)

    `DataConfig(source="mine", path="...", source_options={"shade": 0.5})` then makes it. A source takes those of the
    settings `path`, `strict`, `in_memory`, `decode_processes` and `download` of a `DataConfig` that it has fields for,
    and its other fields as `source_options`. Nothing but these fields and the `DataConfig` decides what is loaded.
    """

    kind: ClassVar[str]
    """Name of the source in settings and records."""
    machine_options: ClassVar[frozenset[str]] = frozenset()
    """Names of those source options that say how images are read, not which: a resumed run may change them."""

    @abstractmethod
    def load(self, config: DataConfig) -> DataSplits:
        """Load the images and divide them into training, validation and test images.

        Args:
            config: the splits; equal configs must give equal splits on every machine.

        Raises:
            DataError: The source is missing, damaged or too small; the message names the file and the remedy.
            ConfigError: `image_size` or `max_train_images` does not fit the source.
        """

    @abstractmethod
    def augmentation(self, config: DataConfig, image_size: int | None) -> Variation:
        """The customary random variation of training images.

        Args:
            config: `horizontal_flip=False` leaves the flip out.
            image_size: Height of the images where the config leaves it to the data.
        """

    def inspect(self, config: DataConfig) -> DataFacts:
        """Find out what the images will be; from the loaded images, unless a source knows a cheaper way.

        Raises:
            DataError, ConfigError: As `load`.
        """
        splits = self.load(config)
        sizes = (len(splits.train), len(splits.validation), len(splits.test))
        return DataFacts(splits.image_shape, splits.class_names, *sizes)


def register_source(source: SourceClass) -> SourceClass:
    """Make a data source known by its `kind`, the `source` of a `DataConfig`; use it as a decorator.

    Returns:
        The class, unchanged.

    Raises:
        ConfigError: Another source has the name already.
    """
    _sources.add(source.kind, source)
    return source


def source_class(name: str) -> type[DataSource]:
    """Return the data source of a name.

    Raises:
        ConfigError: No source of this name is registered.
    """
    return _sources.find(name)
