"""The extension point for data sources, from which images come."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeVar

from multinas_ray.registry import Registry
from multinas_ray.settings import checked

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


@checked
@dataclass(frozen=True)
class DataFacts:
    """Facts about the images that a search needs before they are decoded."""

    image_shape: tuple[int, int, int] | None
    """(C, H, W) of the decoded images; None for samples that are no images."""

    class_names: tuple[str, ...]
    """Name of each label."""

    num_train: int
    """Number of training images, without the validation images."""

    num_validation: int
    """Number of images on which architectures are judged."""

    num_test: int
    """Number of images that are used only at the end."""


class DataSource(ABC):
    """A source of images with its settings.

    A source of your own is a frozen dataclass under two more decorators:

        @register_source
        @checked
        @dataclass(frozen=True, kw_only=True)
        class MyImages(DataSource):
            kind: ClassVar[str] = "mine"
            path: str
            shade: float = 1.0

            def load(self, config):
                return splits_in_memory(config, training, test, class_names)

    `DataConfig(source="mine", path="...", source_options={"shade": 0.5})` then makes it. Of the settings `path`,
    `strict`, `in_memory`, `decode_processes` and `download` of a `DataConfig`, a source takes those for which it has
    fields; its other fields are given as `source_options`. What is loaded must depend only on these fields and on the
    `DataConfig`.
    """

    kind: ClassVar[str]
    """Name of the source in settings and records."""
    machine_options: ClassVar[frozenset[str]] = frozenset()
    """Names of the source options that do not affect which images are loaded, so that a resumed run may change them."""

    has_images: ClassVar[bool] = True
    """Whether the samples are images with classes."""

    may_flip: ClassVar[bool] = True
    """Whether mirrored images are of the same class, so that training images may be mirrored."""

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
    def augmentation(self, config: DataConfig, image_size: int | None) -> Variation | None:
        """The customary random variation of training images; None: there is none.

        Args:
            config: `horizontal_flip=False` leaves the flip out.
            image_size: Height of the images, used if the config does not set one.
        """

    def inspect(self, config: DataConfig) -> DataFacts:
        """Determine the facts about the images: from the loaded images, unless a source has a cheaper way.

        Raises:
            DataError, ConfigError: As in `load`.
        """
        splits = self.load(config)
        sizes = (len(splits.train), len(splits.validation), len(splits.test))
        return DataFacts(splits.image_shape, splits.class_names, *sizes)


def register_source(source: SourceClass) -> SourceClass:
    """Register a data source under its `kind`, which is the `source` of a `DataConfig`; use it as a decorator.

    Returns:
        The class, unchanged.

    Raises:
        ConfigError: Another source has the name already.
    """
    _sources.add(source.kind, source)
    return source


def source_class(name: str) -> type[DataSource]:
    """Return the data source with this name.

    Raises:
        ConfigError: No source of this name is registered.
    """
    return _sources.find(name)
