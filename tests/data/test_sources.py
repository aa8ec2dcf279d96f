"""Data sources of one's own."""

import pickle
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from multinas_ray.data import (
    Augmentation,
    DataConfig,
    DataFacts,
    DataSource,
    DataSplits,
    ImageSet,
    inspect_data,
    load_splits,
    register_source,
    splits_in_memory,
    standard_augmentation,
)
from multinas_ray.data.sources import _sources as sources
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked


@checked
@dataclass(frozen=True, kw_only=True)
class Noise(DataSource):
    kind: ClassVar[str] = "noise"
    machine_options: ClassVar[frozenset[str]] = frozenset({"pace"})

    path: str
    num_images: int = 40
    pace: float = 1.0

    def load(self, config: DataConfig) -> DataSplits:
        rng = np.random.default_rng(len(self.path))
        images = rng.integers(0, 256, (self.num_images, 6, 6, 1), dtype=np.uint8)
        everything = ImageSet(images, np.arange(self.num_images, dtype=np.int64) % 2)
        return splits_in_memory(config, everything, everything.select(np.arange(4)), ("dark", "light"))

    def augmentation(self, config: DataConfig, image_size: int | None) -> Augmentation:
        return Augmentation(crop_padding=0, horizontal_flip=config.mirrors)


@pytest.fixture(autouse=True)
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_classes", dict(sources._classes))
    assert register_source(Noise) is Noise


def test_a_source_of_ones_own_is_loaded_by_its_name() -> None:
    config = DataConfig(source="noise", path="here", source_options={"num_images": 50}, image_size=4)
    splits = load_splits(config)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (40, 10, 4)
    assert splits.image_shape == (1, 4, 4)
    assert inspect_data(config) == DataFacts((1, 4, 4), ("dark", "light"), 40, 10, 4)
    assert standard_augmentation(config) == Augmentation(crop_padding=0, horizontal_flip=True)


def test_its_settings_are_its_own() -> None:
    with pytest.raises(ConfigError, match="the source 'noise' must have a path"):
        DataConfig(source="noise")
    with pytest.raises(ConfigError, match="the source 'noise' has no setting in_memory, got False: leave it out"):
        DataConfig(source="noise", path="x", in_memory=False)
    with pytest.raises(ConfigError, match=r"num_images must be a whole number, got 2\.5"):
        DataConfig(source="noise", path="x", source_options={"num_images": 2.5})
    with pytest.raises(ConfigError, match="colour is unknown"):
        DataConfig(source="noise", path="x", source_options={"colour": "red"})
    with pytest.raises(ConfigError, match=r"settings that DataConfig does not have itself, got path: leave it out"):
        DataConfig(source="noise", path="x", source_options={"path": "y"})
    with pytest.raises(ConfigError, match=r"a data source digits is registered already, by multinas_ray\.data\.digits"):
        register_source(type("Digits", (DataSource,), {"kind": "digits"}))


def test_its_identity_leaves_out_how_it_is_read() -> None:
    here = DataConfig(source="noise", path="here", source_options={"num_images": 50, "pace": 2.0})
    there = DataConfig(source="noise", path="there", source_options={"num_images": 50})
    assert here.identity() == there.identity()
    assert here.identity()["source_options"] == {"num_images": 50}
    assert there.identity() != DataConfig(source="noise", path="there").identity()


def test_a_process_that_has_not_registered_it_gets_it_with_the_config() -> None:
    config = DataConfig(source="noise", path="here")
    sent = pickle.dumps(config)
    sources._classes.pop("noise")
    arrived = pickle.loads(sent)
    assert arrived == config
    assert len(load_splits(arrived).train) == 32
