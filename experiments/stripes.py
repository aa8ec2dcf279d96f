"""Made images for segmentation: discs and squares of random places, sizes and shades on noise."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from multinas_ray.data import register_dataset

SIZE, CLASSES = 32, 3


class Shapes(Dataset[Any]):
    """Images (1, 32, 32) with discs and squares, and the class of each pixel (32, 32)."""

    def __init__(self, number: int, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        self.classes = torch.zeros(number, SIZE, SIZE, dtype=torch.int64)
        self.images = 0.7 * torch.randn(number, 1, SIZE, SIZE, generator=rng)
        for image, classes in zip(self.images, self.classes, strict=True):
            for _ in range(3):
                kind, radius, row, column = torch.randint(0, SIZE, (4,), generator=rng).tolist()
                radius = 3 + radius // 6
                down, right = (rows - row).abs(), (columns - column).abs()
                is_disc = kind % 2 == 0
                inside = down**2 + right**2 <= radius**2 if is_disc else torch.maximum(down, right) < 0.87 * radius
                classes[inside] = 1 if is_disc else 2
                image[0][inside] += 0.5 + 0.5 * torch.rand(1, generator=rng)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.classes[index]


@register_dataset
def shapes(number: int = 1500) -> list[Dataset[Any]]:
    """Training, validation and test images."""
    return [Shapes(number, 0), Shapes(300, 1), Shapes(300, 2)]
