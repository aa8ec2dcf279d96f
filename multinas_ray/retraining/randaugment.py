"""RandAugment of a whole batch at once, with a draw for each image and without a wait for the device.

torchvision's transform draws once per call, and one call for each image is thousands of small operations. Here the
images of a batch are sorted by what they drew, and each operation runs once, on its share of the batch.
"""

# B images of a batch, C channels, H height, W width

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as images_to_images

from multinas_ray.data import to_device

STRONGEST = 30
"""The largest magnitude (Cubuk et al., arXiv 1909.13719)."""
MOST_SHEAR, MOST_TRANSLATION, MOST_DEGREES, MOST_ENHANCEMENT = 0.3, 150.0 / 331.0, 30.0, 0.9
"""What an image is changed by at the largest magnitude, as in torchvision: translations as a share of its side."""

GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
ENHANCEMENTS = ("brightness", "saturation", "contrast", "sharpness")
OPERATIONS = ("identity", *GEOMETRIC, *ENHANCEMENTS, "posterize", "solarize", "autocontrast", "equalize")
"""All are as likely; geometric ones and enhancements go either way."""


class RandAugment:
    """RandAugment (Cubuk et al., arXiv 1909.13719) with the operations and magnitudes of torchvision.

    Args:
        num_ops: operations for each image, one after the other.
        magnitude: their strength, from 0 to `STRONGEST`.
        fill: (C,) pixel value of uncovered areas, from 0 to 255.
    """

    def __init__(self, num_ops: int, magnitude: int, fill: Sequence[int]) -> None:
        self._num_ops, self._strength, self._fill = num_ops, magnitude / STRONGEST, np.array(fill, dtype=np.float32)

    def __call__(self, pixels: Tensor, rng: np.random.Generator) -> Tensor:
        """Return varied pixels, (B, C, H, W) uint8 like the input; all draws come from `rng`."""
        for _ in range(self._num_ops):
            operations_B = rng.integers(0, len(OPERATIONS), len(pixels))
            signs_B = np.where(rng.random(len(pixels)) < 0.5, -1.0, 1.0)
            pixels = self.apply(pixels, operations_B, signs_B)
        return pixels

    def apply(self, pixels: Tensor, operations_B: npt.NDArray[np.int64], signs_B: npt.NDArray[np.float64]) -> Tensor:
        """Apply an operation to each image.

        Args:
            pixels: (B, C, H, W) uint8.
            operations_B: (B,) places in `OPERATIONS`.
            signs_B: (B,) 1.0 or -1.0, which way those go that go either way.
        """
        last_geometric = len(GEOMETRIC)
        kinds_B = np.where((operations_B >= 1) & (operations_B <= last_geometric), 1, operations_B)
        is_enhanced_B = (operations_B > last_geometric) & (operations_B <= last_geometric + len(ENHANCEMENTS))
        groups_B = 2 * kinds_B + (is_enhanced_B & (signs_B < 0))
        order_B = np.argsort(groups_B, kind="stable")
        groups, counts = np.unique(groups_B, return_counts=True)
        parts, start = [], 0
        ordered = pixels.index_select(0, to_device(order_B, pixels.device))
        for group, part in zip(groups.tolist(), torch.split(ordered, counts.tolist()), strict=True):
            rows = order_B[start : start + len(part)]
            start += len(part)
            if group // 2 == 1:
                parts.append(self._moved(part, operations_B[rows], signs_B[rows]))
            else:
                parts.append(self._recoloured(OPERATIONS[group // 2], -1.0 if group % 2 else 1.0)(part))
        return torch.cat(parts).index_select(0, to_device(np.argsort(order_B), pixels.device))

    def _recoloured(self, operation: str, sign: float) -> Callable[[Tensor], Tensor]:
        if operation in ENHANCEMENTS:
            factor = 1.0 + sign * MOST_ENHANCEMENT * self._strength
            adjust: Callable[..., Tensor] = getattr(images_to_images, f"adjust_{operation}")
            return lambda part: adjust(part, factor)
        if operation == "posterize":
            return partial(images_to_images.posterize, bits=round(8 - 4 * self._strength))
        if operation == "solarize":
            return partial(images_to_images.solarize, threshold=255.0 * (1.0 - self._strength))
        changes: dict[str, Callable[[Tensor], Tensor]] = {
            "identity": lambda part: part,
            "autocontrast": images_to_images.autocontrast,
            "equalize": images_to_images.equalize,
        }
        return changes[operation]

    def _moved(self, part: Tensor, operations_B: npt.NDArray[np.int64], signs_B: npt.NDArray[np.float64]) -> Tensor:
        """Shear, move or turn images; the nearest pixel is taken."""
        height, width = part.shape[-2:]
        maps = to_device(self._maps(operations_B, signs_B, height, width), part.device)
        grid = functional.affine_grid(maps, [len(part), 1, height, width], align_corners=False)
        values = torch.cat([part.to(torch.float32), torch.ones_like(part[:, :1], dtype=torch.float32)], dim=1)
        moved = functional.grid_sample(values, grid, mode="nearest", padding_mode="zeros", align_corners=False)
        fill = to_device(self._fill, part.device).view(-1, 1, 1)
        return torch.where(moved[:, -1:] < 0.5, fill, moved[:, :-1]).to(torch.uint8)

    def _maps(
        self, operations_B: npt.NDArray[np.int64], signs_B: npt.NDArray[np.float64], height: int, width: int
    ) -> npt.NDArray[np.float32]:
        """(B, 2, 3) maps from places in the result to places in the image, each from -1 to 1 along a side.

        In pixels from the centre, a shear keeps the upper left corner, and a translation is by whole pixels.
        """
        by = signs_B * self._strength
        maps = np.zeros((len(by), 2, 3))
        maps[:, 0, 0] = maps[:, 1, 1] = 1.0
        sides = (width, height)
        for axis, shear, translation in ((0, "shear_x", "translate_x"), (1, "shear_y", "translate_y")):
            is_sheared, is_moved = (operations_B == OPERATIONS.index(name) for name in (shear, translation))
            maps[is_sheared, axis, 1 - axis] = MOST_SHEAR * by[is_sheared]
            maps[is_sheared, axis, 2] = MOST_SHEAR * by[is_sheared] * sides[1 - axis] / 2
            maps[is_moved, axis, 2] = -np.trunc(MOST_TRANSLATION * sides[axis] * by[is_moved])
        is_turned = operations_B == OPERATIONS.index("rotate")
        angles = np.radians(MOST_DEGREES * by[is_turned])
        turned = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], axis=-1)
        maps[is_turned, :, :2] = turned.reshape(-1, 2, 2)
        scale = np.array([[1.0, height / width, 2.0 / width], [width / height, 1.0, 2.0 / height]])
        scaled: npt.NDArray[np.float32] = (maps * scale).astype(np.float32)
        return scaled
