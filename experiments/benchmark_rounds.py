"""Measures the overhead of orchestrating rounds, and a round's compute time against a bare PyTorch loop.

First the quickstart's search runs through Ray as usual. Its wall time between the first and the last round is
compared with the compute time that rank 0 measured; the difference is the overhead of broker, trials, Tune and record.
Then rounds of that search (its subnets, its batches) run in this process, in turn through the supernet, which
computes shared prefixes once, and through a bare loop over plain networks, one subnet after the other. So do rounds of
random networks of PyTorch models with choices: `experiments/own_model.py`, `experiments/own_resnet.py` and the other
worked examples.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from experiments.own_model import residual_space
from experiments.own_resnet import resnet_space
from experiments.own_sizes import EXAMPLES
from experiments.quickstart import quickstart_config
from multinas_ray.commands.experiment import Experiment, ExperimentOptions
from multinas_ray.data import load_splits
from multinas_ray.oneshot import OneShotSearchConfig, Round, RoundWorker, WorkerJob
from multinas_ray.runs import Run, load_run
from multinas_ray.spaces import Space
from multinas_ray.supernets import build_subnet


def orchestration_table(run: Run) -> Table:
    """Wall time divided by compute time, in ten equal parts of the run's rounds."""
    rounds = run.rounds
    ratios, added_ms = [], []
    for part in np.array_split(np.arange(1, len(rounds)), 10):
        wall_seconds = rounds["wall_time_seconds"].iloc[part[-1]] - rounds["wall_time_seconds"].iloc[part[0] - 1]
        compute_seconds = rounds["compute_seconds"].iloc[part].sum()
        ratios.append(wall_seconds / compute_seconds)
        added_ms.append(1000 * (wall_seconds - compute_seconds) / len(part))
    table = Table(title=f"Orchestration, {len(rounds)} rounds", title_justify="left")
    for name in ("", "median of 10 parts", "least", "most"):
        table.add_column(name, justify="right")
    for name, values in (("wall / compute", ratios), ("added ms a round", added_ms)):
        table.add_row(name, *(f"{value:.3f}" for value in (np.median(values), min(values), max(values))))
    return table


class Bare:
    """The same subnets and batches without a supernet: plain networks, one after the other."""

    def __init__(self, worker: RoundWorker, architectures: NDArray[np.int64]) -> None:
        self._worker = worker
        space = worker.job.space
        self._subnets = [build_subnet(space, row).to(memory_format=torch.channels_last) for row in architectures]
        parameters = [parameter for subnet in self._subnets for parameter in subnet.parameters()]
        self._sgd = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True)
        self._loss = getattr(functional, str(worker.job.task.loss).rpartition(".")[2])

    def train(self) -> None:
        """One training step of the mean loss."""
        inputs, targets = self._worker.training_batches.batch(0)
        self._sgd.zero_grad(set_to_none=True)
        for subnet in self._subnets:
            loss = self._loss(subnet(inputs), targets) / len(self._subnets)
            loss.backward()
        self._sgd.step()

    @torch.no_grad()
    def evaluate(self) -> None:
        """Losses on one validation batch, and accuracies of classes."""
        inputs, targets = self._worker.validation_batches.batch(0)
        for subnet in self._subnets:
            outputs = subnet(inputs)
            self._loss(outputs, targets)
            if not targets.is_floating_point():
                (outputs.argmax(1) == targets).float().mean()


def seconds(action: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def compute_table(config: OneShotSearchConfig, run: Run, repeats: int) -> Table:
    """The supernet's time divided by the bare loop's, for rounds at the start, in the middle and at the end."""
    numbers = run.evaluations["round"].unique()
    phases = (
        ("first", numbers[:repeats]),
        ("middle", numbers[len(numbers) // 2 :][:repeats]),
        ("last", numbers[-repeats:]),
    )
    worker = worker_of(config, config.space)
    table = _table(f"Supernet / bare loop, {repeats} repeats")
    for name, chosen in phases:
        rows = [run.evaluations[run.evaluations["round"] == number]["architecture"].tolist() for number in chosen]
        table.add_row(name, *_cells(worker, [np.array(each, dtype=np.int64) for each in rows]))
    return table


def model_table(config: OneShotSearchConfig, repeats: int) -> Table:
    """The same for random networks of models with choices."""
    digits = (1, 8, 8), 10
    searches: list[tuple[OneShotSearchConfig, Space]] = [(config, residual_space(*digits))]
    searches += [(config, resnet_space(*digits))]
    searches += [(each, each.space) for each in (make(ExperimentOptions()) for make in EXAMPLES.values())]
    table = _table(f"Supernet of a model with choices / bare loop, random networks, {repeats} repeats")
    for search, space in searches:
        rng, number = np.random.default_rng(0), search.optimizer_settings.update_size
        rounds = [space.search_space.random(number, rng) for _ in range(repeats)]
        table.add_row(space.name, *_cells(worker_of(search, space), rounds))
    return table


def worker_of(config: OneShotSearchConfig, space: Space) -> RoundWorker:
    """A worker with the data of a search, in this process."""
    job = WorkerJob(
        space=space,
        data=config.data,
        task=config.task,
        training=config.training,
        num_weight_steps=config.plan.num_weight_steps,
        warmup_rounds=0,
        seed=config.seed,
        broker="",
        namespace="",
        run_path="",
    )
    return RoundWorker(job, load_splits(config.data), torch.device("cpu"))


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("rounds", "training step", "least", "most", "evaluation", "least", "most"):
        table.add_column(name, justify="right")
    return table


def _cells(worker: RoundWorker, rounds: Sequence[NDArray[np.int64]]) -> list[str]:
    """Median, least and most of the ratios of training steps, then of evaluations."""
    cells = []
    for kind in ("train", "evaluate"):
        ratios = [_ratio(worker, architectures, kind) for architectures in rounds]
        cells += [f"{value:.2f}" for value in (np.median(ratios), min(ratios), max(ratios))]
    return cells


def _ratio(worker: RoundWorker, architectures: NDArray[np.int64], kind: str) -> float:
    if kind == "train":
        architectures = architectures[::2]  # the default number of subnets in a weight step
        work = Round(number=0, train_architectures=architectures, architectures=None)
        bare = Bare(worker, architectures).train
    else:
        work = Round(number=0, train_architectures=None, architectures=architectures)
        bare = Bare(worker, architectures).evaluate
    worker.run(work), bare()  # warm up
    return seconds(lambda: worker.run(work)) / seconds(bare)


def show(config: OneShotSearchConfig, arguments: argparse.Namespace, console: Console) -> None:
    """Print what the finished search cost, and time its rounds again."""
    run = load_run(config.run_path)
    console.print(orchestration_table(run))
    console.print(compute_table(config, run, arguments.repeats))
    console.print(model_table(config, arguments.repeats))


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns the exit status."""
    with tempfile.TemporaryDirectory() as storage:

        def config_of(options: ExperimentOptions) -> OneShotSearchConfig:
            return replace(quickstart_config(options), storage_path=storage, name="benchmark_rounds")

        benchmark = Experiment(description=str(__doc__), config_of=config_of, options=ExperimentOptions)
        parser = benchmark.parser()
        text = "rounds compared in each phase (default: %(default)s)"
        parser.add_argument("--repeats", metavar="N", type=int, default=15, help=text)
        return benchmark.run(argv, parser=parser, complete=show)


if __name__ == "__main__":
    raise SystemExit(main())
