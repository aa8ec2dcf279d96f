"""How much networks lose by keeping the supernet's weights, with subnets as they are drawn and with the sandwich rule.

A supernet of an example is trained by each rule, with four subnets in each step of both. Then the cheapest, a middle
and the largest network are tested with inherited weights, with their own statistics, and after training alone.

python -m experiments.own_sandwich
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from experiments.own_sizes import EXAMPLES, Sizes, networks_of, trained
from multinas_ray.commands.experiment import ExperimentOptions
from multinas_ray.commands.script import Script
from multinas_ray.data import DataSplits, load_splits
from multinas_ray.oneshot import OneShotSearchConfig, Round, RoundWorker, WorkerJob
from multinas_ray.runs import format_count
from multinas_ray.settings import PositiveInt, checked
from multinas_ray.supernets import Separate, recalibrate_batch_norm, sample_scores

Rule = Literal["drawn", "sandwich"]
RULES: dict[Rule, int] = {"drawn": 4, "sandwich": 2}
"""Subnets that are drawn in a step; the sandwich rule adds the largest and the smallest."""


@checked
@dataclass(frozen=True, kw_only=True)
class Gaps:
    """What is trained, and for how long."""

    example: str = "transformer"
    """The example, see `experiments/own_sizes.py`."""
    seeds: PositiveInt = 3
    """Number of seeds."""
    steps: PositiveInt = 600
    """Weight steps of a supernet."""
    epochs: PositiveInt = 60
    """Epochs of a network that is trained alone."""


def inherited(config: OneShotSearchConfig, splits: DataSplits, rule: Rule, gaps: Gaps, seed: int) -> list[float]:
    """Train a supernet; returns the primary metric of its networks on the test samples."""
    job = WorkerJob(
        space=config.space,
        data=config.data,
        task=config.task,
        training=dataclasses.replace(config.training, rule=rule),
        num_weight_steps=gaps.steps,
        warmup_rounds=gaps.steps,
        seed=seed,
        broker="",
        namespace="",
        run_path="",
    )
    worker, rng = RoundWorker(job, splits, torch.device("cpu")), np.random.default_rng(seed)
    for number in range(gaps.steps):
        rows = config.space.search_space.random(RULES[rule], rng)
        worker.run(Round(number=number, train_architectures=rows, architectures=None))
    calibration = worker.stream("train", config.training.batch_size, augmented=False)
    batches = worker.stream("test", config.training.norm_batch_size, augmented=False)
    found = []
    for architecture in networks_of(config):
        network = worker.supernet.extract(architecture)
        recalibrate_batch_norm(network, (calibration.batch(step)[0] for step in range(8)))
        _, (metrics,) = sample_scores(Separate([network]), batches.all_batches(), worker.scorer)
        found.append(metrics[str(config.task.primary)])
    return found


def measure(gaps: Gaps, console: Console) -> None:
    """Train, and print the table."""
    torch.set_num_threads(1)
    config = EXAMPLES[gaps.example](ExperimentOptions())
    splits = load_splits(config.data)
    seeds = range(gaps.seeds)
    columns: dict[str, list[list[float]]] = {
        rule: [inherited(config, splits, rule, gaps, seed) for seed in seeds] for rule in RULES
    }
    sizes, networks = Sizes(epochs=gaps.epochs), networks_of(config)
    columns["trained alone"] = [[trained(config, splits, each, sizes, seed)[1] for each in networks] for seed in seeds]
    title = f"{gaps.example}, {gaps.steps} steps, {gaps.seeds} seeds: {config.task.primary} on test samples"
    table = Table(title=title, title_justify="left")
    for name in (config.complexity, *columns):
        table.add_column(name, justify="right")
    for place, architecture in enumerate(networks):
        cells = [[row[place] for row in rows] for rows in columns.values()]
        cost = format_count(float(config.cost(np.array([architecture]))[0]))
        table.add_row(cost, *(f"{np.mean(each):.4f} ± {np.std(each, ddof=1):.4f}" for each in cells))
    console.print(table)


GAPS = Script(description=str(__doc__), settings=Gaps, program="python -m experiments.own_sandwich")


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit status."""
    return GAPS.run(argv, measure)


if __name__ == "__main__":
    raise SystemExit(main())
