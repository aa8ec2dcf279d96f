"""The handwritten digits that come with scikit-learn."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from multinas_ray.data.augmentation import Augmentation
from multinas_ray.data.config import DataConfig
from multinas_ray.data.images import DataSplits, ImageSet, divide
from multinas_ray.data.in_memory import splits_in_memory
from multinas_ray.data.sources import DataSource, register_source
from multinas_ray.errors import DataError
from multinas_ray.settings import checked

_TEST_FRACTION, _TEST_SEED = 0.2, 0
_PADDING = 1  # of 8 pixels
_FILE = ("datasets", "data", "digits.csv.gz")


@register_source
@checked
@dataclass(frozen=True, kw_only=True)
class DigitsSource(DataSource):
    """1,797 digits of 1x8x8 pixels, of which a fixed stratified fifth are the test images."""

    kind: ClassVar[str] = "digits"
    may_flip: ClassVar[bool] = False

    def load(self, config: DataConfig) -> DataSplits:
        """Load the digits and divide them.

        Raises:
            DataError: Scikit-learn is not installed.
        """
        training, test = divide(_load_digits(), _TEST_FRACTION, np.random.default_rng(_TEST_SEED))
        return splits_in_memory(config, training, test, tuple(str(digit) for digit in range(10)))

    def augmentation(self, config: DataConfig, image_size: int | None) -> Augmentation:
        """A border of 1 pixel and no flip, since a mirrored digit is a different character."""
        return Augmentation(crop_padding=_PADDING, horizontal_flip=False)


def _load_digits() -> ImageSet:
    """Read the digits from scikit-learn's file, since every process would import scikit-learn as long as torch."""
    found = importlib.util.find_spec("sklearn")
    folders = [] if found is None else found.submodule_search_locations or []
    file = next((file for folder in folders if (file := Path(folder, *_FILE)).is_file()), None)
    if file is None:
        raise DataError(
            "the digits come with scikit-learn, which is not installed: "
            'run pip install "multinas-ray[demo]", or use source="cifar10"'
        )
    rows = np.loadtxt(file, delimiter=",")  # 64 grey values from 0 to 16, and the digit
    images = np.rint(rows[:, :64].reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    return ImageSet(images, rows[:, 64].astype(np.int64))
