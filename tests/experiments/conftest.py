from pathlib import Path

import numpy as np
import pytest

from experiments.compare.images import write_images
from experiments.parts.tables import Table
from multinas_ray.data import ImageSet


def _tiny_table(seed: int = 0, num_categories: tuple[int, ...] = (3, 2, 4, 3)) -> Table:
    rng = np.random.default_rng(seed)
    architectures = np.stack(np.unravel_index(np.arange(np.prod(num_categories)), num_categories), axis=1)
    costs = 1.0 + (architectures * rng.random(len(num_categories))).sum(axis=1)
    errors = 20.0 / costs + 5.0 * rng.random(len(architectures))
    order = rng.permutation(len(architectures))
    return Table("tiny", "A tiny table", num_categories, architectures[order], errors[order], costs[order])


@pytest.fixture
def table() -> Table:
    return _tiny_table()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A CIFAR-10 of random images."""
    folder, rng = tmp_path / "images", np.random.default_rng(0)
    folder.mkdir()
    for split, number in (("train", 300), ("test", 50)):
        pixels = rng.integers(0, 256, (number, 32, 32, 3), dtype=np.uint8)
        write_images([ImageSet(pixels, np.arange(number) % 10)], folder / f"{split}.parquet")
    return folder
