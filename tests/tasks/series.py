"""A task that is no classification of images: the mean of each series is predicted, by its values and its scale."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics import R2Score

from multinas_ray.choices import Choice, ElasticLinear, WidthChoice, model_space
from multinas_ray.data import register_dataset
from multinas_ray.spaces import ModelSpace, register_model
from multinas_ray.tasks import Task, register_metric, register_task_loss

LENGTH = 6


class Series(Dataset[Any]):
    """Series of noise whose target is their scaled mean; training samples are varied by torch's global generator."""

    def __init__(self, num: int, seed: int, noise: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.values = torch.randn(num, LENGTH, generator=generator)
        self.scales = torch.randint(1, 4, (num,), generator=generator)
        self.noise = noise

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> tuple[dict[str, Any], float]:
        values, scale = self.values[index], self.scales[index]
        varied = values + self.noise * torch.randn(LENGTH)
        return {"values": varied, "scale": int(scale)}, float(values.mean() * scale)


@register_dataset
def series(num: int, noise: float = 0.0) -> tuple[Series, Series]:
    return Series(num, 0, noise), Series(64, 1)


@register_task_loss
def mean_of_squares(outputs: dict[str, Tensor], targets: Tensor, power: float = 2.0) -> Tensor:
    """A scalar, the mean over the samples."""
    return (outputs["mean"] - targets).abs().pow(power).mean()


@register_metric
def absolute_error(outputs: dict[str, Tensor], targets: Tensor) -> Tensor:
    """One value for each sample."""
    return (outputs["mean"] - targets).abs()


@register_metric
class ScaledR2(R2Score):
    """A metric of sums, which is no mean over samples."""

    def update(self, outputs: Any, targets: Tensor) -> None:
        super().update(outputs["mean"], targets)


class Reader(nn.Module):
    """Two inputs by name and two outputs; no batch normalisation."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        width = WidthChoice("width", [2, hidden])
        self.read = nn.Sequential(ElasticLinear(LENGTH, width), Choice("act", {"relu": nn.ReLU(), "tanh": nn.Tanh()}))
        self.write = ElasticLinear(width, 1)

    def forward(self, values: Tensor, scale: Tensor) -> dict[str, Tensor]:
        return {"mean": self.write(self.read(values))[:, 0] * scale, "doubled": 2 * scale}


@register_model
def reader(hidden: int = 4) -> nn.Module:
    return Reader(hidden)


def space() -> ModelSpace:
    return model_space(reader, Series(1, 0)[0][0])


TASK = Task(loss=mean_of_squares, metrics={"mae": absolute_error, "r2": ScaledR2}, primary="mae")
