"""The pieces of the comparison: a training of a network by a seed, done once and kept whole."""

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.parts.alone import accuracy_alone
from experiments.parts.rows import load_rows, rows_of, save_rows
from experiments.scaled.networks import network_of
from experiments.scaled.options import Recipe

if TYPE_CHECKING:
    from multinas_ray.data import DataConfig, DataSplits

TRAININGS_FILE = "trainings.parquet"
"""A row for each training: `method`, `limit`, `seed`, `accuracy` on all test images, and `seconds`."""
MADE_WITH = "scaled 1"
KEY = ["method", "limit", "seed"]


@dataclass(frozen=True)
class Surroundings:
    """What all trainings share."""

    out: Path
    """Folder of the results."""
    images: Path
    """Folder of CIFAR-10."""
    recipe: Recipe
    """How every network is trained."""
    use_gpu: bool
    """Whether on a GPU."""
    num_threads: int
    """CPU threads of each training."""


@functools.cache
def _images(path: Path, number: int | None) -> "tuple[DataConfig, DataSplits]":
    """The images; each process decodes them once."""
    from multinas_ray.data import DataConfig, load_splits

    config = DataConfig(source="cifar10", path=str(path), max_train_images=number)
    return config, load_splits(config)


def train(row: Mapping[str, Any], seed: int, surroundings: Surroundings) -> dict[str, Any]:
    """Train the network of a row of the networks with a seed; returns its row of TRAININGS_FILE."""
    import torch

    from multinas_ray.retraining import RetrainConfig

    torch.set_num_threads(surroundings.num_threads)
    started_seconds, recipe = time.perf_counter(), surroundings.recipe
    config = RetrainConfig(
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        learning_rate_scaling="none",
        weight_decay=recipe.weight_decay,
        label_smoothing=0.0,
        augmentation="standard",
        ema_decay=0.0,
        precision="float32",
        use_gpu=surroundings.use_gpu,
        seed=seed,
    )
    data, splits = _images(surroundings.images, recipe.images)
    network = network_of(row, surroundings.out)
    accuracy = accuracy_alone(network.space, network.architecture, config, data, splits, surroundings.use_gpu)
    seconds = time.perf_counter() - started_seconds
    return {"method": row["method"], "limit": row["limit"], "seed": seed, "accuracy": accuracy, "seconds": seconds}


def done_so_far(out: Path) -> pd.DataFrame:
    """The rows of TRAININGS_FILE."""
    rows = load_rows(out / TRAININGS_FILE, MADE_WITH)
    return pd.DataFrame(columns=[*KEY, "accuracy", "seconds"]) if rows is None else rows


def carry_out(
    networks: pd.DataFrame,
    seeds: Sequence[int],
    surroundings: Surroundings,
    pool: Executor,
    show: Callable[[int, int, Mapping[str, Any] | None], None],
) -> None:
    """Do what is not done, seed by seed; `show` is told how many are done, of how many, and the last row."""
    out, rows = surroundings.out, rows_of(done_so_far(surroundings.out))
    known = {tuple(row[name] for name in KEY) for row in rows}
    wanted = [(row, seed) for seed in seeds for row in rows_of(networks)]
    waiting = [(row, seed) for row, seed in wanted if (row["method"], row["limit"], seed) not in known]
    num_done = len(wanted) - len(waiting)
    show(num_done, len(wanted), None)
    futures = [pool.submit(train, row, seed, surroundings) for row, seed in waiting]
    for future in as_completed(futures):
        rows.append(future.result())
        save_rows(pd.DataFrame(rows), out / TRAININGS_FILE, MADE_WITH)
        num_done += 1
        show(num_done, len(wanted), rows[-1])
