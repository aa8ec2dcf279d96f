"""Reducing CIFAR-10 once, so that the many processes of a comparison can read it in a second."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from experiments.compare.settings import Settings, images_folder
from multinas_ray.data import DataConfig, Images, ImageSet, load_splits
from multinas_ray.storage import replace_folder, write_parquet

IMAGE_SIZE = 16
TEST_IMAGES = 1_000
"""Number of test images to keep. The package tests its chosen networks on them; the comparison does not use them."""


def prepare_images(source: Path, settings: Settings, out: Path) -> None:
    """Scale down the images that the comparison uses, the same share of each class, and write them if not done yet.

    Args:
        source: folder of CIFAR-10: torchvision's root, or one with train.parquet and test.parquet.
        settings: the comparison, which has the number of images.
        out: the comparison's folder.

    Raises:
        DataError: The source is missing or damaged.
    """
    folder = images_folder(out)
    if folder.is_dir():
        return
    total = settings.images + settings.validation_images
    data = DataConfig(
        source="cifar10",
        path=str(source),
        max_train_images=total,
        validation_fraction=settings.validation_images / total,
        image_size=IMAGE_SIZE,
    )
    splits = load_splits(data)
    train, validation, test = map(_decoded, (splits.train, splits.validation, splits.test))
    kept = np.random.default_rng(0).permutation(len(test))[:TEST_IMAGES]
    with replace_folder(folder) as unfinished:
        write_images([train, validation], unfinished / "train.parquet")
        write_images([test.select(kept)], unfinished / "test.parquet")


def _decoded(images: Images) -> ImageSet:
    assert isinstance(images, ImageSet)  # CIFAR-10 is never streamed
    return images


def write_images(image_sets: list[ImageSet], file: Path) -> None:
    """Write sets of images as one Parquet file of PNGs and labels."""
    encoded = [_png(image) for each in image_sets for image in each.images]
    labels = np.concatenate([each.labels for each in image_sets])
    write_parquet(file, pa.table({"image": encoded, "label": labels}))


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "png")
    return buffer.getvalue()
