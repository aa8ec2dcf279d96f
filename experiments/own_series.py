"""A 1-D convolutional network for a time series: the potential of a nerve cell, see `experiments/membrane.py`.

python -m experiments.own_series
"""

import torch
from torch import Tensor, nn

from experiments.membrane import WINDOW, membrane
from multinas_ray.choices import Choice, model_space
from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.spaces import register_model
from multinas_ray.supernets import WeightTraining
from multinas_ray.tasks import Task

CHANNELS = 16


class Block(nn.Module):
    """Adds two convolutions to its input, (B, 16, L)."""

    def __init__(self, kernel_size: int, hidden: int) -> None:
        super().__init__()
        first = nn.Conv1d(CHANNELS, hidden, kernel_size, padding=kernel_size // 2, bias=False)
        self.layers = nn.Sequential(first, nn.BatchNorm1d(hidden), nn.ReLU(), nn.Conv1d(hidden, CHANNELS, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        output: Tensor = features + self.layers(features)
        return output


@register_model
class Forecaster(nn.Module):
    """Residual blocks of chosen kernel and width, as many as are chosen; then the mean and the last of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv1d(1, CHANNELS, 7, padding=3), nn.Linear(2 * CHANNELS, 1)
        blocks = {"narrow3": lambda: Block(3, 8), "wide3": lambda: Block(3, 32), "wide7": lambda: Block(7, 32)}
        choices = (Choice(f"block{n}", {**blocks, "skip": nn.Identity()}) for n in range(1, 5))
        self.blocks = nn.Sequential(*choices)

    def forward(self, windows: Tensor) -> Tensor:
        """Windows (B, 1, L) to forecasts (B,)."""
        features = self.blocks(self.stem(windows))
        forecasts: Tensor = self.head(torch.cat([features.mean(2), features[:, :, -1]], 1))
        return forecasts[:, 0]


def series_config(options: ExperimentOptions) -> OneShotSearchConfig:
    """The search for three networks."""
    space = model_space(Forecaster, (1, WINDOW))
    return OneShotSearchConfig(
        space=space,
        data=DataConfig(source=membrane.__name__),
        task=Task(loss="torch.nn.functional.mse_loss", metrics={"R2": "torchmetrics.R2Score"}),
        name="series",
        complexity="flops",
        targets=[60_000, 300_000, space.costs["flops"].maximum],
        warmup_rounds=400,
        search_rounds=100,
        training=WeightTraining(batch_size=128, validation_batch_size=256, norm_batch_size=64, learning_rate=0.05),
    )


main = Experiment(description=__doc__, config_of=series_config, options=ExperimentOptions).run

if __name__ == "__main__":
    raise SystemExit(main())
