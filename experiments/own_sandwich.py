"""How much networks lose by keeping the supernet's weights, with subnets as they are drawn and with the sandwich rule.

The model has residual convolutions of chosen number and widths, for the digits of scikit-learn. A supernet is trained
by each rule, with four subnets in each step of both. Then the cheapest, a middle and the largest network are tested
with inherited weights, with normalisation statistics of their own, and after training alone. Each training is kept as
it ends: the same command goes on where it was ended.

python -m experiments.own_sandwich
"""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from experiments.own_sizes import CONFIDENCE, networks_of, told_mean, trained_alone
from experiments.parts.rows import KeptRows
from multinas_ray.choices import (
    DepthChoice,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLinear,
    WidthChoice,
    model_space,
)
from multinas_ray.commands.script import Script
from multinas_ray.data import DataConfig, DataSplits, load_splits
from multinas_ray.oneshot import OneShotSearchConfig, Round, RoundWorker, WorkerJob
from multinas_ray.runs import format_count
from multinas_ray.settings import Flag, NonNegativeInt, PositiveInt, checked
from multinas_ray.spaces import register_model
from multinas_ray.storage import GivenPath
from multinas_ray.supernets import Separate, WeightTraining, recalibrate_batch_norm, sample_scores

Rule = Literal["drawn", "sandwich"]
RULES: dict[Rule, int] = {"drawn": 4, "sandwich": 2}
"""Subnets that are drawn in a step; the sandwich rule adds the largest and the smallest."""

CALIBRATION_BATCHES = 8


class Residual(nn.Module):
    """Two convolutions, the features between them of chosen width, added to the input."""

    def __init__(self, name: str, width: WidthChoice) -> None:
        super().__init__()
        hidden = WidthChoice(name, [4, 8, 16])
        self.layers = nn.Sequential(
            ElasticConv2d(width, hidden, 3, padding=1, bias=False),
            ElasticBatchNorm2d(hidden),
            nn.ReLU(),
            ElasticConv2d(hidden, width, 3, padding=1, bias=False),
            ElasticBatchNorm2d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Features of the same shape."""
        output: Tensor = features + self.layers(features)
        return output


@register_model
def nested_digits() -> nn.Module:
    """Images (B, 1, 8, 8) to logits (B, 10); narrow and shallow networks lie within wide and deep ones."""
    width = WidthChoice("width", [4, 8, 16])
    blocks = [partial(Residual, f"hidden{number}", width) for number in range(1, 4)]
    return nn.Sequential(
        ElasticConv2d(1, width, 3, padding=1, bias=False),
        ElasticBatchNorm2d(width),
        nn.ReLU(),
        DepthChoice("depth", blocks),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        ElasticLinear(width, 10),
    )


@checked
@dataclass(frozen=True, kw_only=True)
class Gaps:
    """What is trained, and for how long."""

    seeds: PositiveInt = 3
    """Number of seeds."""
    first_seed: NonNegativeInt = 0
    """The first of them."""
    steps: PositiveInt = 600
    """Weight steps of a supernet."""
    epochs: PositiveInt = 30
    """Epochs of a network that is trained alone."""
    out: Annotated[GivenPath, Flag(metavar="DIR")] = "experiments/results/own-sandwich"
    """Folder of the figures."""


def search() -> OneShotSearchConfig:
    """The search whose supernet is trained."""
    return OneShotSearchConfig(
        space=model_space(nested_digits, (1, 8, 8)),
        data=DataConfig(source="digits"),
        name="digits",
        complexity="flops",
        coefficients=(0.0,),
        warmup_rounds=1,
        search_rounds=1,
        training=WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32),
    )


def inherited(config: OneShotSearchConfig, splits: DataSplits, rule: Rule, steps: int, seed: int) -> list[float]:
    """Train a supernet; returns the primary metric of its networks on the test samples."""
    job = WorkerJob(
        space=config.space,
        data=config.data,
        task=config.task,
        training=dataclasses.replace(config.training, rule=rule),
        num_weight_steps=steps,
        warmup_rounds=steps,
        seed=seed,
        broker="",
        namespace="",
        run_path="",
    )
    worker, rng = RoundWorker(job, splits, torch.device("cpu")), np.random.default_rng(seed)
    for number in range(steps):
        rows = config.space.search_space.random(RULES[rule], rng)
        worker.run(Round(number=number, train_architectures=rows, architectures=None))
    calibration = worker.stream("train", config.training.batch_size, augmented=False)
    batches = worker.stream("test", config.training.norm_batch_size, augmented=False)
    found = []
    for architecture in networks_of(config):
        network = worker.supernet.extract(architecture)
        recalibrate_batch_norm(network, (calibration.batch(step)[0] for step in range(CALIBRATION_BATCHES)))
        _, (metrics,) = sample_scores(Separate([network]), batches.all_batches(), worker.scorer)
        found.append(metrics[str(config.task.primary)])
    return found


def measure(gaps: Gaps, console: Console) -> None:
    """Train, and print the table."""
    torch.set_num_threads(1)
    config = search()
    splits, out = load_splits(config.data), Path(gaps.out)
    kept, kept_alone = KeptRows(out / "inherited.parquet"), KeptRows(out / "alone.parquet")
    columns: dict[str, list[list[float]]] = {rule: [] for rule in (*RULES, "trained alone")}
    costs: list[float] = []
    learning_rate = config.training.learning_rate * 256 / config.training.batch_size  # the supernet's, for 256 samples
    for seed in range(gaps.first_seed, gaps.first_seed + gaps.seeds):
        rows = trained_alone(config, splits, gaps.epochs, learning_rate, seed, kept_alone)
        columns["trained alone"].append([row["metric"] for row in rows])
        costs = [row["cost"] for row in rows]
        for rule in RULES:

            def train(rule: Rule = rule, seed: int = seed) -> list[dict[str, Any]]:
                return [{"metric": metric} for metric in inherited(config, splits, rule, gaps.steps, seed)]

            what = {"rule": rule, "steps": gaps.steps, "seed": seed}
            columns[rule].append([row["metric"] for row in kept.of(what, train)])
    title = (
        f"{gaps.steps} steps, {gaps.seeds} seeds: {config.task.primary} on test samples, mean ± half its "
        f"{CONFIDENCE:.0%} interval"
    )
    table = Table(title=title, title_justify="left")
    for name in (config.complexity, *columns):
        table.add_column(name, justify="right")
    for place, cost in enumerate(costs):
        table.add_row(format_count(cost), *(told_mean([row[place] for row in rows]) for rows in columns.values()))
    console.print(table)


GAPS = Script(description=str(__doc__), settings=Gaps, program="python -m experiments.own_sandwich")


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit status."""
    return GAPS.run(argv, measure)


if __name__ == "__main__":
    raise SystemExit(main())
