"""Random variation of the training images beyond crops and flips, with torch and torchvision and without Ray."""

# B images of a batch, C channels, H height, W width

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from multinas_ray.retraining.recipe import RetrainConfig

RANDAUGMENT_GROUP = 4
"""Images of a batch that share one draw of RandAugment [ours]. The draw of each image follows the published law, and a
batch is a fresh random draw of images. torchvision draws once per call, and one call for each image would take longer
than the training step of a small network."""

_CUTOUT, _RANDAUGMENT = 2, 3
"""These keep the draws independent of each other and of those of the data (order and crops)."""


class ExtraAugmentation:
    """Cutout or RandAugment of a normalised batch, as a pure function of (seed, step, rank) and the batch.

    Global random generators are neither read nor changed.

    Args:
        config: which of them, and its strength.
        mean: (C,) mean of the normalisation of the images.
        std: (C,) standard deviation of the same.
        rank: number of this worker, so that the workers of a network draw independently.
    """

    def __init__(self, config: RetrainConfig, mean: Sequence[float], std: Sequence[float], rank: int) -> None:
        self._config, self._rank = config, rank
        self._mean = torch.tensor(mean).view(-1, 1, 1)
        self._std = torch.tensor(std).view(-1, 1, 1)
        if config.augmentation == "randaugment":
            from torchvision.transforms import v2  # here, since the others do not need these 3 seconds of loading

            self._randaugment = v2.RandAugment(
                num_ops=config.randaugment_ops,
                magnitude=config.randaugment_magnitude,
                fill=[round(255 * value) for value in mean],  # uncovered areas get the mean colour, as in the crops
            )

    def __call__(self, images: Tensor, step: int) -> Tensor:
        """Return varied images, (B, C, H, W) float32 like the input; "none" and "standard" change nothing."""
        if self._config.augmentation == "cutout":
            return self._cut_out(images, np.random.default_rng((self._config.seed, step, self._rank, _CUTOUT)))
        if self._config.augmentation == "randaugment":
            return self._apply_randaugment(images, (self._config.seed, step, self._rank, _RANDAUGMENT))
        return images

    def _cut_out(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Set a square around a uniformly drawn pixel of each image to zero, clipped at the border (1708.04552).

        This is own code because the erasing of torchvision and timm keeps the rectangle inside the image and draws from
        a global generator.
        """
        num_images, _, height, width = images.shape
        centres = torch.from_numpy(rng.integers(0, (height, width), size=(num_images, 2))).to(images.device)
        covered = []
        for axis, size in enumerate((height, width)):
            side = max(1, round(self._config.cutout_fraction * size))
            offset = torch.arange(size, device=images.device) - (centres[:, axis, None] - side // 2)
            covered.append((offset >= 0) & (offset < side))
        return images.masked_fill((covered[0][:, :, None] & covered[1][:, None, :])[:, None], 0.0)

    def _apply_randaugment(self, images: Tensor, key: tuple[int, ...]) -> Tensor:
        mean, std = self._mean.to(images.device), self._std.to(images.device)
        pixels = ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's global generator on the CPU
            torch.default_generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
            varied = torch.cat([self._randaugment(group) for group in torch.split(pixels, RANDAUGMENT_GROUP)])
        normalised = (varied.to(torch.float32) / 255 - mean) / std
        return normalised.contiguous(memory_format=torch.channels_last)
