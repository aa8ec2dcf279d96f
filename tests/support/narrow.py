"""Values of a narrower type than the code that gives them promises; a test fails here where they are not."""

import io
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from rich.console import Console

from multinas_ray.data import Images, ImageSet, SampleSet

Value = TypeVar("Value")


def present(value: Value | None) -> Value:
    """A value that may be None in general and is not here."""
    assert value is not None
    return value


def pixels_of(images: Images) -> npt.NDArray[np.uint8]:
    """(n, S, S, C) pixels of images that are in memory."""
    assert isinstance(images, ImageSet)
    return images.images


def labels_of(images: Images) -> npt.NDArray[np.int64]:
    """(n,) labels of images."""
    assert not isinstance(images, SampleSet)
    return images.labels


def printed(console: Console) -> str:
    """What a console that writes into a text has printed."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
