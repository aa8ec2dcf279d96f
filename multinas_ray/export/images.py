"""The images, or other samples, by which exported files are checked, calibrated and judged."""

# n images, C channels, H height, W width

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from multinas_ray.data import DataSplits, Images, open_stream
from multinas_ray.export.formats import BATCH_SIZES


def check_images(splits: DataSplits) -> tuple[Any, Any]:
    """Validation images for the check, drawn from the whole set so that many classes occur.

    Returns:
        The (n, C, H, W) uint8 pixels, and the same images as the training pipeline normalises them; or the inputs of
        other samples, twice.
    """
    count = min(len(splits.validation), sum(BATCH_SIZES))
    images, _ = plain_stream(splits, splits.validation, count, shuffle=True).batch(0)
    if splits.image_shape is None:
        return images, images
    return to_pixels(images, splits.mean, splits.std), images


def to_pixels(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The (B, C, H, W) uint8 pixels of normalised images."""
    means, stds = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    return ((images * stds + means) * 255).round().clamp(0, 255).to(torch.uint8)


def plain_stream(splits: DataSplits, images: Images, batch_size: int, *, shuffle: bool) -> Any:
    """Batches of images as they are, normalised, for the CPU."""
    return open_stream(
        images,
        batch_size=batch_size,
        seed=0,
        shuffle=shuffle,
        augment=None,
        mean=splits.mean,
        std=splits.std,
        device="cpu",
        norm_batch_size=1,
        channels_last=False,
    )
