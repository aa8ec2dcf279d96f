"""Random variation of the training images beyond crops and flips, with torch and torchvision and without Ray."""

# B images of a batch, C channels, H height, W width

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from multinas_ray.data import to_device
from multinas_ray.retraining.recipe import RetrainConfig

_CUTOUT, _RANDAUGMENT = 2, 3
"""These keep the draws independent of each other and of those of the data (order and crops)."""


class ExtraAugmentation:
    """Cutout or RandAugment of a normalised batch, as a pure function of (seed, step, rank) and the batch.

    Global random generators are neither read nor changed, and the host never waits for the device.

    Args:
        config: which of them, and its strength.
        mean: (C,) mean of the normalisation of the images.
        std: (C,) standard deviation of the same.
        rank: number of this worker, so that the workers of a network draw independently.
    """

    def __init__(self, config: RetrainConfig, mean: Sequence[float], std: Sequence[float], rank: int) -> None:
        self._config, self._rank = config, rank
        self._scale = np.array([mean, std], dtype=np.float32)[:, :, None, None]
        if config.augmentation == "randaugment":
            # here, since the others do not need the 3 seconds in which torchvision loads
            from multinas_ray.retraining.randaugment import RandAugment

            fill = [round(255 * value) for value in mean]  # uncovered areas get the mean colour, as in the crops
            self._randaugment = RandAugment(config.randaugment_ops, config.randaugment_magnitude, fill)

    def __call__(self, images: Tensor, step: int) -> Tensor:
        """Return varied images, (B, C, H, W) float32 like the input; "none" and "standard" change nothing."""
        if self._config.augmentation == "cutout":
            return self._cut_out(images, self._rng(step, _CUTOUT))
        if self._config.augmentation == "randaugment":
            return self._apply_randaugment(images, self._rng(step, _RANDAUGMENT))
        return images

    def _rng(self, step: int, kind: int) -> np.random.Generator:
        return np.random.default_rng((self._config.seed, step, self._rank, kind))

    def _cut_out(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Set a square around a uniformly drawn pixel of each image to zero, clipped at the border (1708.04552).

        This is own code because the erasing of torchvision and timm keeps the rectangle inside the image and draws from
        a global generator.
        """
        num_images, _, height, width = images.shape
        centres = to_device(rng.integers(0, (height, width), size=(num_images, 2)), images.device)
        covered = []
        for axis, size in enumerate((height, width)):
            side = max(1, round(self._config.cutout_fraction * size))
            offset = torch.arange(size, device=images.device) - (centres[:, axis, None] - side // 2)
            covered.append((offset >= 0) & (offset < side))
        return images.masked_fill((covered[0][:, :, None] & covered[1][:, None, :])[:, None], 0.0)

    def _apply_randaugment(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        mean, std = to_device(self._scale, images.device)
        pixels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        varied = self._randaugment(pixels, rng)
        normalised: Tensor = (varied.to(torch.float32) / 255 - mean) / std
        return normalised.contiguous(memory_format=torch.channels_last)
