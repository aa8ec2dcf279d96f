"""Normalisation of pixels 0..255 for a network, on the device."""

# B images, H height, W width, C channels

from collections.abc import Sequence

import numpy as np
import torch

from multinas_ray.errors import DataError


class Normalisation:
    """(pixel / 255 - mean) / std, in one pass.

    Args:
        mean: (C,) subtracted from pixels scaled to 0..1.
        std: (C,) that divides the difference.
        num_channels: C of the images.
        device: Where the pixels are.
        channels_last: Memory layout of the result: channels_last, or contiguous NCHW.

    Raises:
        DataError: Mean and std do not match the images' channels.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        num_channels: int,
        device: torch.device,
        channels_last: bool,
    ) -> None:
        if len(mean) != num_channels or len(std) != num_channels or min(std) <= 0:
            raise DataError(
                f"mean and std must have {num_channels} values each, with std above 0, got mean={mean}, std={std}: "
                "check the source"
            )
        # (pixel / 255 - mean) / std = shift + pixel * scale
        self._scale = to_device((1 / (255 * np.asarray(std))).astype(np.float32), device)
        self._shift = to_device((-np.asarray(mean) / np.asarray(std)).astype(np.float32), device)
        self._channels_last = channels_last

    def __call__(self, pixels: torch.Tensor, inside: torch.Tensor | None = None) -> torch.Tensor:
        """Normalise.

        Args:
            pixels: (B, H, W, C) uint8.
            inside: (B, H, W, 1) bool, False for pixels of a border, which become 0; None: there is no border.

        Returns:
            (B, C, H, W) float32.
        """
        height, width, channels = pixels.shape[1:]
        rows = pixels.to(torch.float32).reshape(-1, height, width * channels)  # long rows: several times faster
        torch.addcmul(self._shift.repeat(width), rows, self._scale.repeat(width), out=rows)
        images = rows.view(-1, height, width, channels)
        if inside is not None:
            images.masked_fill_(~inside, 0.0)
        images = images.permute(0, 3, 1, 2)  # a (B, H, W, C) array viewed as NCHW is already channels_last
        return images if self._channels_last else images.contiguous()


def to_device(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], device: torch.device) -> torch.Tensor:
    """Copy an array to the device; on the CPU, the array's own memory is shared if possible."""
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    if device.type == "cuda":
        # pinned, so that copying a new epoch does not make the host wait for running kernels
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
