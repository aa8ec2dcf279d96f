"""Made images for segmentation: discs with stripes of four directions, on noise."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from multinas_ray.data import register_dataset

SIZE, DIRECTIONS, DISCS, WAVELENGTH = 32, 4, 3, 4.0
CLASSES = 1 + DIRECTIONS


class Stripes(Dataset[Any]):
    """Images (1, 32, 32) with three discs, and for each pixel (32, 32) 0 or, in a disc, the direction of its stripes.

    The stripes have an amplitude of 1 and random phases, the noise has a standard deviation of 0.5.
    """

    def __init__(self, number: int, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        self.classes = torch.zeros(number, SIZE, SIZE, dtype=torch.int64)
        self.images = 0.5 * torch.randn(number, 1, SIZE, SIZE, generator=rng)
        for image, classes in zip(self.images, self.classes, strict=True):
            for _ in range(DISCS):
                row, column, direction, radius, phase = torch.rand(5, generator=rng).tolist()
                inside = (rows - SIZE * row) ** 2 + (columns - SIZE * column) ** 2 < (4 + 5 * radius) ** 2
                kind = int(DIRECTIONS * direction)
                across = math.cos(math.pi * kind / DIRECTIONS) * rows + math.sin(math.pi * kind / DIRECTIONS) * columns
                stripes = torch.sin(2 * math.pi * (across / WAVELENGTH + phase))
                image[0] = torch.where(inside & (classes == 0), image[0] + stripes, image[0])
                classes[inside & (classes == 0)] = 1 + kind

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.classes[index]


@register_dataset
def stripes(number: int = 1500) -> list[Dataset[Any]]:
    """Training, validation and test images."""
    return [Stripes(number, 0), Stripes(300, 1), Stripes(500, 2)]
