import numpy as np
import pytest

from multinas_ray.data import ImageSet


@pytest.fixture
def small_set():
    """37 random images of 6x5 pixels and 3 channels; the height differs from the width on purpose."""
    rng = np.random.default_rng(0)
    return ImageSet(rng.integers(0, 256, (37, 6, 5, 3), dtype=np.uint8), rng.integers(0, 4, 37).astype(np.int64))
