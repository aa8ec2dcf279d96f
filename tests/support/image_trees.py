"""Trees of small images for the tests."""

import numpy as np
from PIL import Image


def picture(seed, size=(8, 8), mode="RGB"):
    """A random image, of (width, height) pixels."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def write_class(folder, count, *, first_seed=0, size=(8, 8), mode="RGB"):
    """Images 00.png, 01.png, ... in a class's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(first_seed + number, size, mode).save(folder / f"{number:02}.png")


def write_tree(root, counts, **fields):
    """A folder for each class of `counts`, whose images differ from one another."""
    for number, (name, count) in enumerate(counts.items()):
        write_class(root / name, count, first_seed=1000 * number, **fields)
    return root
