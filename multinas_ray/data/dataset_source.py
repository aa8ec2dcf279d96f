"""Data of any kind as a source: a function that returns PyTorch datasets, registered by a decorator."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch.utils.data import DataLoader, Dataset

from multinas_ray.data.config import DataConfig
from multinas_ray.data.images import DataSplits
from multinas_ray.data.samples import SampleSet
from multinas_ray.data.sources import DataSource, register_source
from multinas_ray.errors import ConfigError, DataError, raised_by
from multinas_ray.settings import checked

MakeDatasets = TypeVar("MakeDatasets", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class DatasetSource(DataSource):
    """Samples of the datasets that a function returns; see `register_dataset`."""

    has_images: ClassVar[bool] = False
    may_flip: ClassVar[bool] = False
    make: ClassVar[Callable[..., Any]]
    """The function."""

    def load(self, config: DataConfig) -> DataSplits:
        """Call the function and divide the samples where it does not.

        Raises:
            DataError: it does not return datasets of samples.
            ConfigError: a setting is for images alone.
        """
        if config.image_size is not None:
            raise ConfigError(f"image_size is for sources of images, {self.kind} is none: leave it out")
        arguments = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        with raised_by(f"the function {self.kind} of datasets"):
            made = type(self).make(**arguments)
        if not isinstance(made, (tuple, list)) or len(made) not in (2, 3) or not all(map(_is_dataset, made)):
            raise DataError(
                f"the function {self.kind} must return the datasets (training, validation, test) or (training, test), "
                f"got {made!r}"
            )
        train, *others, test = (SampleSet(each) for each in made)
        if config.max_train_images is not None and config.max_train_images < len(train):
            rng = np.random.default_rng((config.split_seed, 1))
            train = train.select(np.sort(rng.permutation(len(train))[: config.max_train_images]))
        train, validation = (train, others[0]) if others else _divided(train, config)
        return DataSplits(train, validation, test)

    def augmentation(self, config: DataConfig, image_size: int | None) -> None:
        """None: a dataset varies its samples itself."""
        return


def register_dataset(make: MakeDatasets) -> MakeDatasets:
    """Make a function that returns PyTorch datasets a source of data, by its name; use it as a decorator.

        @register_dataset
        def signals(length: int = 128):
            return training, validation, test  # torch.utils.data.Dataset

    `DataConfig(source="signals", source_options={"length": 64})` then calls it. It must give the same samples on every
    machine. A sample is a pair of inputs and target, each a tensor, an array or a number, or these in dictionaries and
    tuples. A dataset has numbers or is iterable; a `DataLoader` stands for its dataset and its `collate_fn`. Where only
    training and test samples are returned, the validation samples are drawn from the former by `validation_fraction`
    and `split_seed`. Arguments that DataConfig has as settings, such as `path`, are given by these.

    Returns:
        The function, unchanged.

    Raises:
        ConfigError: another source has the name already, or an argument takes any number of values.
    """
    hints, fields = typing.get_type_hints(make), list[tuple[str, Any, Any]]()
    for each in inspect.signature(make).parameters.values():
        if each.kind not in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY):
            raise ConfigError(f"the function {make.__name__} of datasets must name its arguments, got {each}")
        fields.append((each.name, hints.get(each.name, Any), _field(each)))
    source = dataclasses.make_dataclass(
        make.__name__,
        fields,
        bases=(DatasetSource,),
        namespace={"kind": make.__name__, "make": staticmethod(make), "__doc__": make.__doc__},
        frozen=True,
        kw_only=True,
    )
    source.__module__, source.__qualname__ = make.__module__, make.__qualname__
    register_source(checked(source))
    return make


def _field(argument: inspect.Parameter) -> Any:
    """The field for an argument, with its default."""
    if argument.default is argument.empty:
        return dataclasses.field()
    return dataclasses.field(default_factory=lambda: argument.default)


def _is_dataset(value: Any) -> bool:
    return isinstance(value, (Dataset, DataLoader)) or (hasattr(value, "__len__") and hasattr(value, "__getitem__"))


def _divided(samples: SampleSet, config: DataConfig) -> tuple[SampleSet, SampleSet]:
    """The samples without and with those that are drawn for validation."""
    number = round(len(samples) * config.validation_fraction)
    if not 0 < number < len(samples):
        raise DataError(
            f"both parts of a division must have samples, got {len(samples)} samples and a fraction of "
            f"{config.validation_fraction}: use more samples or a fraction nearer 0.5"
        )
    order = np.random.default_rng((config.split_seed, 0)).permutation(len(samples))
    return samples.select(np.sort(order[number:])), samples.select(np.sort(order[:number]))
