"""Whether larger networks of the examples are better: the cheapest, a middle and the largest one are trained alone.

Each is trained with several seeds, in this process with one thread; the table has loss and metric on the test samples.

python -m experiments.own_sizes --examples series unet
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from experiments.own_series import series_config
from experiments.own_transformer import transformer_config
from experiments.own_unet import unet_config
from multinas_ray.commands.experiment import ExperimentOptions
from multinas_ray.commands.script import Script
from multinas_ray.data import DataSplits, load_splits, standard_augmentation
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.retraining import NetworkTraining, RetrainConfig
from multinas_ray.runs import format_count
from multinas_ray.settings import OneOf, PositiveFloat, PositiveInt, checked
from multinas_ray.supernets import build_subnet
from multinas_ray.tasks import MeanScore

EXAMPLES: dict[str, Callable[[ExperimentOptions], OneShotSearchConfig]] = {
    "series": series_config,
    "transformer": transformer_config,
    "unet": unet_config,
}
DRAWS = 500
"""Networks among which the middle one is sought."""


@checked
@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What is trained, and for how long."""

    examples: tuple[Annotated[str, OneOf(tuple(EXAMPLES))], ...] = tuple(EXAMPLES)
    """The examples."""
    seeds: PositiveInt = 3
    """Number of seeds of each network."""
    epochs: PositiveInt = 20
    """Epochs of each training."""
    learning_rate: PositiveFloat = 0.1
    """Peak learning rate for a batch of 256 samples."""


def networks_of(config: OneShotSearchConfig) -> list[tuple[int, ...]]:
    """The cheapest, the one nearest to the geometric mean of the costs, and the most expensive of some networks."""
    rows = config.space.search_space.random(DRAWS, np.random.default_rng(0))
    counts = config.space.search_space.num_categories
    rows = np.concatenate([rows, [[0] * len(counts)], [[count - 1 for count in counts]]])
    costs = config.cost(rows)
    middle = np.abs(np.log(costs) - np.log(costs[[costs.argmin(), costs.argmax()]]).mean()).argmin()
    return [tuple(rows[place].tolist()) for place in (costs.argmin(), middle, costs.argmax())]


def trained(
    config: OneShotSearchConfig, splits: DataSplits, architecture: tuple[int, ...], sizes: Sizes, seed: int
) -> tuple[MeanScore, float]:
    """Train a network; returns its score on the test samples and the primary metric."""
    recipe = RetrainConfig(
        epochs=sizes.epochs,
        batch_size=config.training.batch_size,
        learning_rate=sizes.learning_rate,
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


def measure(sizes: Sizes, console: Console) -> None:
    """Train the networks and print a table for each example."""
    torch.set_num_threads(1)
    for name in sizes.examples:
        config = EXAMPLES[name](ExperimentOptions())
        splits = load_splits(config.data)
        title = f"{name}, {sizes.epochs} epochs, {sizes.seeds} seeds: mean ± standard deviation on test samples"
        table = Table(title=title, title_justify="left")
        for column in (config.complexity, "loss", str(config.task.primary)):
            table.add_column(column, justify="right")
        for architecture in networks_of(config):
            found = [trained(config, splits, architecture, sizes, seed) for seed in range(sizes.seeds)]
            losses, metrics = [score.loss for score, _ in found], [metric for _, metric in found]
            cost = format_count(float(config.cost(np.array([architecture]))[0]))
            table.add_row(cost, *(f"{np.mean(each):.4f} ± {np.std(each, ddof=1):.4f}" for each in (losses, metrics)))
        console.print(table)


SIZES = Script(description=str(__doc__), settings=Sizes, program="python -m experiments.own_sizes")


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit status."""
    return SIZES.run(argv, measure)


if __name__ == "__main__":
    raise SystemExit(main())
