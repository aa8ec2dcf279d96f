"""Whether larger networks of the examples are better: the cheapest, a middle and the largest one are trained alone.

Each is trained with several seeds, in this process with one thread; the table has the metric on the test samples. Each
training is kept as it ends: the same command goes on where it was ended. The ResNet is trained on CIFAR-10, at
--data.

python -m experiments.own_sizes --examples series unet
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import t

from experiments.custom import CustomOptions, custom_config
from experiments.own_series import series_config
from experiments.own_transformer import transformer_config
from experiments.own_unet import unet_config
from experiments.parts.rows import KeptRows
from multinas_ray.commands.experiment import ExperimentOptions
from multinas_ray.commands.script import Script
from multinas_ray.data import DataConfig, DataSplits, load_splits, standard_augmentation
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.retraining import NetworkTraining, RetrainConfig
from multinas_ray.runs import format_count
from multinas_ray.settings import Flag, NonNegativeInt, OneOf, PositiveFloat, PositiveInt, checked
from multinas_ray.storage import GivenPath
from multinas_ray.supernets import build_subnet
from multinas_ray.tasks import MeanScore

EXAMPLES: dict[str, Callable[[ExperimentOptions], OneShotSearchConfig]] = {
    "series": series_config,
    "transformer": transformer_config,
    "unet": unet_config,
}
RESNET = "resnet"
IMAGE_SIZE = 16
"""Pixels a side to which they are made smaller, so that a training takes minutes."""
EPOCHS = {RESNET: 10, "series": 6, "transformer": 10, "unet": 12}
"""Epochs of each training."""
LEARNING_RATES = {RESNET: 0.2, "series": 0.1, "transformer": 1.0, "unet": 0.1}
"""Peak learning rates for a batch of 256 samples."""
DRAWS = 500
"""Networks among which the middle one is sought."""
CONFIDENCE = 0.95
"""Of the intervals."""


@checked
@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is trained, and for how long."""

    examples: tuple[Annotated[str, OneOf((*EXAMPLES, RESNET))], ...] = tuple(EXAMPLES)
    """The examples."""
    data: GivenPath = "data"
    """Folder of CIFAR-10, for the ResNet."""
    seeds: PositiveInt = 3
    """Number of seeds of each network."""
    first_seed: NonNegativeInt = 0
    """The first of them."""
    epochs: PositiveInt | None = None
    """Epochs of each training; None: as many as the example needs."""
    learning_rate: PositiveFloat | None = None
    """Peak learning rate for a batch of 256 samples; None: that of the example."""
    out: Annotated[GivenPath, Flag(metavar="FILE")] = "experiments/results/own-sizes/trainings.parquet"
    """File of the trainings."""


def resnet_config(data: str) -> OneShotSearchConfig:
    """The search for a ResNet for CIFAR-10."""
    images = DataConfig(source="cifar10", path=data, image_size=IMAGE_SIZE)
    space = str(Path(__file__).with_name("own_resnet.py"))
    config = custom_config(CustomOptions(data=images, space_function=f"{space}:resnet_space"))
    return replace(config, name=RESNET, training=replace(config.training, batch_size=64))


def networks_of(config: OneShotSearchConfig) -> list[tuple[int, ...]]:
    """The cheapest, the one nearest to the geometric mean of the costs, and the most expensive of some networks."""
    rows = config.space.search_space.random(DRAWS, np.random.default_rng(0))
    counts = config.space.search_space.num_categories
    rows = np.concatenate([rows, [[0] * len(counts)], [[count - 1 for count in counts]]])
    costs = config.cost(rows)
    middle = np.abs(np.log(costs) - np.log(costs[[costs.argmin(), costs.argmax()]]).mean()).argmin()
    return [tuple(rows[place].tolist()) for place in (costs.argmin(), middle, costs.argmax())]


def trained(
    config: OneShotSearchConfig,
    splits: DataSplits,
    architecture: tuple[int, ...],
    epochs: int,
    learning_rate: float,
    seed: int,
) -> tuple[MeanScore, float]:
    """Train a network; returns its score on the test samples and the primary metric."""
    recipe = RetrainConfig(
        epochs=epochs,
        batch_size=config.training.batch_size,
        learning_rate=learning_rate,
        augmentation="standard",
        label_smoothing=0.0,
        ema_decay=0.0,
        seed=seed,
    )
    network, device = build_subnet(config.space, architecture, seed=seed), torch.device("cpu")
    loss = recipe.training_loss.start(config.space, config.task, "", device)
    crops = standard_augmentation(config.data, splits.image_size)
    training = NetworkTraining(network, recipe, loss, splits, crops, device, task=config.task)
    while not training.is_finished:
        training.run_epoch()
    score = training.score(splits.test)
    return score, training.primary_of(score)


def trained_alone(
    config: OneShotSearchConfig, splits: DataSplits, epochs: int, learning_rate: float, seed: int, kept: KeptRows
) -> list[dict[str, Any]]:
    """Train the networks of an example with a seed; returns a row for each, with its cost, loss and metric."""
    rows: list[dict[str, Any]] = []
    for place, architecture in enumerate(networks_of(config)):

        def train(architecture: tuple[int, ...] = architecture) -> list[dict[str, Any]]:
            score, metric = trained(config, splits, architecture, epochs, learning_rate, seed)
            (cost,) = config.cost(np.array([architecture])).tolist()
            return [{"cost": cost, "loss": score.loss, "metric": metric}]

        what = {
            "example": config.name,
            "place": place,
            "architecture": " ".join(map(str, architecture)),
            "epochs": epochs,
            "learning_rate": learning_rate,
            "seed": seed,
        }
        rows += kept.of(what, train)
    return rows


def told_mean(values: Sequence[float]) -> str:
    """The mean over seeds and half the width of its interval, by Student's t."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):.4f} ± {t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * error:.4f}"


def told_difference(more: Sequence[float], less: Sequence[float]) -> str:
    """How much higher the mean over seeds is than that of others, and half the width of the difference's interval."""
    if min(len(more), len(less)) < 2:
        return f"{np.mean(more) - np.mean(less):.4f}"
    freedom = len(more) + len(less) - 2
    variance = (np.var(more) * len(more) + np.var(less) * len(less)) / freedom
    error = np.sqrt(variance * (1 / len(more) + 1 / len(less)))
    return f"{np.mean(more) - np.mean(less):.4f} ± {t.ppf((1 + CONFIDENCE) / 2, freedom) * error:.4f}"


def measure(sizes: Sizes, console: Console) -> None:
    """Train the networks and print a table for each example."""
    torch.set_num_threads(1)
    kept = KeptRows(Path(sizes.out))
    for name in sizes.examples:
        config = resnet_config(sizes.data) if name == RESNET else EXAMPLES[name](ExperimentOptions())
        splits = load_splits(config.data)
        seeds = range(sizes.first_seed, sizes.first_seed + sizes.seeds)
        epochs, learning_rate = sizes.epochs or EPOCHS[name], sizes.learning_rate or LEARNING_RATES[name]
        rows = [trained_alone(config, splits, epochs, learning_rate, seed, kept) for seed in seeds]
        title = (
            f"{name}, {epochs} epochs, {sizes.seeds} seeds: mean on test samples ± half its {CONFIDENCE:.0%} interval"
        )
        table = Table(title=title, title_justify="left")
        for column in (
            config.complexity,
            "loss",
            str(config.task.primary),
            "more than the one before",
            "than the first",
        ):
            table.add_column(column, justify="right")
        told: list[list[float]] = []
        for of_network in zip(*rows, strict=True):
            losses, metrics = ([row[column] for row in of_network] for column in ("loss", "metric"))
            more = [told_difference(metrics, other) for other in (told[-1], told[0])] if told else []
            table.add_row(format_count(of_network[0]["cost"]), told_mean(losses), told_mean(metrics), *more)
            told.append(metrics)
        console.print(table)


SIZES = Script(description=str(__doc__), settings=Sizes, program="python -m experiments.own_sizes")


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit status."""
    return SIZES.run(argv, measure)


if __name__ == "__main__":
    raise SystemExit(main())
