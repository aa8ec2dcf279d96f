"""A model with every kind of place: shared, nested, in a row, and of chosen width."""

import torch
from torch import Tensor, nn

from multinas_ray.choices import (
    Choice,
    DepthChoice,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLayerNorm,
    ElasticLinear,
    WidthChoice,
)


class EveryPlace(nn.Module):
    """Images (B, 3, 8, 8) to (B, 5) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = WidthChoice("hidden", [4, 8, 12])
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.stage = Choice(
            "stage",
            {
                "conv3": lambda: nn.Conv2d(8, 8, 3, padding=1),
                "conv5": lambda: nn.Conv2d(8, 8, 5, padding=2, bias=False),
                "inner": lambda: nn.Sequential(Choice("nested", {"a": nn.Conv2d(8, 8, 1), "b": nn.Identity()})),
                "skip": nn.Identity(),
            },
        )
        self.same_stage = self.stage
        self.widened = nn.Sequential(
            ElasticConv2d(8, self.hidden, 1),
            ElasticBatchNorm2d(self.hidden),
            ElasticConv2d(self.hidden, self.hidden, 3, padding=1, depthwise=True, padding_mode="circular"),
            nn.ReLU(),
            ElasticConv2d(self.hidden, 8, 1, bias=False),
        )
        self.deep = DepthChoice("deep", [lambda: nn.Conv2d(8, 8, 3, padding=1) for _ in range(4)], [0, 1, 4])
        self.head = nn.Sequential(
            ElasticLinear(8, self.hidden), ElasticLayerNorm(self.hidden), nn.ReLU(), ElasticLinear(self.hidden, 5)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        features = self.same_stage(self.stage(self.stem(images)))
        features = self.deep(features + self.widened(features))
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


INPUTS = "float32[3, 8, 8]"
"""What the model takes for a sample."""


def images(seed: int = 0) -> Tensor:
    """(4, 3, 8, 8) random images."""
    return torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
