"""Random variation of the training images beyond crops and flips. torch and torchvision, no Ray."""

# B images of a batch, C channels, H height, W width

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from multinas_ray.retraining.recipe import RetrainConfig

RANDAUGMENT_GROUP = 4
"""Images of a batch that share one draw of RandAugment [ours]. The draw of each image follows the published law and a
batch is a fresh random draw of images; torchvision draws once a call, and one call an image would cost more than the
training step of a small network."""

_CUTOUT, _RANDAUGMENT = 2, 3
"""Keep these draws apart from each other and from those of the data (order and crops)."""


class ExtraAugmentation:
    """Cutout or RandAugment of a normalised batch, a pure function of (seed, step, rank) and the batch.

    No global random generator is read or left changed.

    Args:
        config: which one, and how strong.
        mean: (C,) the images' normalisation.
        std: (C,) the same.
        rank: this worker, so that the workers of a network draw on their own.
    """

    def __init__(self, config: RetrainConfig, mean: Sequence[float], std: Sequence[float], rank: int) -> None:
        self._config, self._rank = config, rank
        self._mean = torch.tensor(mean).view(-1, 1, 1)
        self._std = torch.tensor(std).view(-1, 1, 1)
        self._randaugment = v2.RandAugment(
            num_ops=config.randaugment_ops,
            magnitude=config.randaugment_magnitude,
            fill=[round(255 * value) for value in mean],  # what becomes visible is the mean colour, as in the crops
        )

    def __call__(self, images: Tensor, step: int) -> Tensor:
        """Varied images, (B, C, H, W) float32 as they came; "none" and "standard" add nothing."""
        if self._config.augmentation == "cutout":
            return self._cut_out(images, np.random.default_rng((self._config.seed, step, self._rank, _CUTOUT)))
        if self._config.augmentation == "randaugment":
            return self._apply_randaugment(images, (self._config.seed, step, self._rank, _RANDAUGMENT))
        return images

    def _cut_out(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Each image with a square of zeros around a uniformly drawn pixel, clipped at the border (1708.04552).

        Own code: torchvision's and timm's erasing keep the rectangle inside and draw from a global generator.
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
        with torch.random.fork_rng(devices=[]):  # torchvision draws on the CPU, from torch's global generator
            torch.default_generator.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
            varied = torch.cat([self._randaugment(group) for group in torch.split(pixels, RANDAUGMENT_GROUP)])
        normalised = (varied.to(torch.float32) / 255 - mean) / std
        return normalised.contiguous(memory_format=torch.channels_last)
