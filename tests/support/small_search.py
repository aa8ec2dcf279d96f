import pytest

from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.spaces import digits_space
from multinas_ray.supernets import WeightTraining


def small_config(storage_path, **changes):
    """A small search of the digits; `changes` replace its settings."""
    settings = {
        "space": digits_space(width_multiplier=0.5),
        "data": DataConfig(source="digits", validation_fraction=0.25),
        "coefficients": (0.0, 0.3),
        "storage_path": str(storage_path),
        "name": "small",
        "warmup_rounds": 2,
        "search_rounds": 12,
        "rounds_ahead": 3,
        "training": WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32),
    }
    return OneShotSearchConfig(**{**settings, **changes})


@pytest.fixture
def make_config(tmp_path):
    """A configuration of a small search of the digits; keyword arguments replace its settings."""

    def make(storage_path=tmp_path / "runs", **changes):
        return small_config(storage_path, **changes)

    return make
