"""Random crop and flip, drawn once per epoch for every image and applied to whole batches on the device."""

# n images of the set, B images of a batch, H height, W width, C channels

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from multinas_ray.data.config import DataConfig
from multinas_ray.data.streamed_images import ResizedCrop
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked, checked_arguments

_CIFAR_PADDING, _CIFAR_SIZE = 4, 32
_STREAM = 1  # keeps these draws apart from the epoch's permutation, which uses the key (seed, epoch)


@checked
@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random variation of the images, which is drawn anew for each epoch.

    Raises:
        ConfigError: `crop_padding` is negative.
    """

    crop_padding: int = 4
    """Width in pixels of a border that is added before a crop of the original size; 0 means no crop. The border is 0
    AFTER normalisation, which is the training set's mean colour and not black."""

    horizontal_flip: bool = True
    """Mirror every second image, on average. Wrong for digits and letters."""

    def __post_init__(self) -> None:
        """Check the padding."""
        if self.crop_padding < 0:
            raise ConfigError(f"crop_padding must be at least 0, got {self.crop_padding}; 0 means no crop")

    def draw(self, *, seed: int, epoch: int, num_images: int) -> npt.NDArray[np.int64]:
        """Draw the variation of every image of an epoch.

        An image's draw depends only on (seed, epoch, image, num_images), and not on batches, ranks or workers.

        Args:
            seed: The stream's seed.
            epoch: Number of the epoch, from 0.
            num_images: n, the size of the set.

        Returns:
            (n, 3): row and column of the crop's corner, 0..2 * crop_padding, and 1 if the image is mirrored.
        """
        rng = np.random.default_rng((seed, epoch, _STREAM))
        corner = rng.integers(0, 2 * self.crop_padding + 1, size=(num_images, 2))
        flip = rng.integers(0, 2, size=(num_images, 1)) * int(self.horizontal_flip)
        return np.concatenate([corner, flip], axis=1)

    def apply(
        self, images: torch.Tensor, index: torch.Tensor, draws: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Crop and mirror (in this order) the images of a batch, without a loop or a host sync.

        Args:
            images: (n, H, W, C) uint8, the whole set.
            index: (B,) int64, the batch's images.
            draws: (n, 3) int64, from `draw`.

        Returns:
            (B, H, W, C) uint8 pixels, and (B, H, W, 1) bool, False where the pixel is border.
        """
        height, width = images.shape[1:3]
        top, left, flip = draws[index].unbind(1)
        rows = torch.arange(height, device=images.device) + (top - self.crop_padding)[:, None]
        columns = torch.arange(width, device=images.device)
        columns = torch.where(flip[:, None] == 1, width - 1 - columns, columns)
        columns = columns + (left - self.crop_padding)[:, None]
        inside_rows = (rows >= 0) & (rows < height)
        inside_columns = (columns >= 0) & (columns < width)
        pixel = (index[:, None, None] * height + rows.clamp(0, height - 1)[:, :, None]) * width
        pixel = pixel + columns.clamp(0, width - 1)[:, None, :]
        cropped = images.reshape(-1, images.shape[3]).index_select(0, pixel.reshape(-1))
        inside = inside_rows[:, :, None] & inside_columns[:, None, :]
        return cropped.reshape(*inside.shape, images.shape[3]), inside[..., None]


Variation = Augmentation | ResizedCrop
"""Variation of images in memory, or of images that are decoded when they are needed."""


@checked_arguments
def photo_augmentation(config: DataConfig, image_size: int | None) -> Augmentation:
    """Crop from a border of 4 pixels at 32x32 (in proportion for other sizes, at least 1) and flip.

    Args:
        config: `image_size` and `mirrors`.
        image_size: Height of the images, used if the config does not set one.
    """
    size = config.image_size or image_size or _CIFAR_SIZE
    padding = max(1, round(_CIFAR_PADDING * size / _CIFAR_SIZE))
    return Augmentation(crop_padding=padding, horizontal_flip=config.mirrors)
