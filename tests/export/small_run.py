"""A finished run with random weights, and what its export gives."""

from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from multinas_ray.data import (
    DataConfig,
    load_splits,
)
from multinas_ray.export.exporting import load_weights
from multinas_ray.export.images import check_images
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import RetrainingRecord, architectures_schema, write_config, write_retraining
from multinas_ray.selection import load_family, open_run
from multinas_ray.spaces import digits_space
from multinas_ray.storage import make_table, write_parquet
from multinas_ray.supernets import build_subnet, recalibrate_batch_norm

SPACE = digits_space(width_multiplier=0.5)
DATA = DataConfig(source="digits", validation_fraction=0.25)
ARCHITECTURES = [(4, 0, 4, 4, 1, 4), (1, 3, 2, 4, 2, 3)]  # with skips, without
EVERY_FILE = [
    "README.md",
    "SHA256SUMS",
    "architecture.json",
    "model.onnx",
    "model.pt2",
    "parity.json",
    "weights.safetensors",
]


def write_run(folder, retrained=(0,)):
    """A finished run as a search and a retraining leave it, with random weights."""
    config = OneShotSearchConfig(
        space=SPACE,
        data=DATA,
        coefficients=(0.0, 0.3),
        storage_path=str(folder),
        name="small",
        warmup_rounds=2,
        search_rounds=12,
    )
    write_config(config.run_path, config.to_dict())
    paths = write_weights(folder, retrained)
    write_parquet(folder / "small" / "architectures.parquet", networks_table(paths, retrained))
    return config.run_path


def write_weights(folder, retrained):
    """Write random weights of each network; returns the columns of their paths."""
    _, images = check_images(load_splits(DATA))
    paths: dict[str, list[str | None]] = {"weights_path": [], "retrained_path": []}
    for number, architecture in enumerate(ARCHITECTURES):
        place = folder / "small" / "networks" / str(number)
        place.mkdir(parents=True)
        for seed, (column, name) in enumerate([("weights_path", "weights.pt"), ("retrained_path", "retrained.pt")]):
            is_there = column == "weights_path" or number in retrained
            paths[column].append(f"networks/{number}/{name}" if is_there else None)
            if is_there:
                network = build_subnet(SPACE, architecture, seed=10 * seed + number)
                classifier = network.get_parameter("head.classifier.weight")
                torch.nn.init.normal_(classifier, generator=torch.Generator().manual_seed(10 * seed + number))
                recalibrate_batch_norm(network, [images])
                torch.save(network.state_dict(), place / name)
        if number in retrained:
            write_retraining(
                place, RetrainingRecord(architecture=architecture, recipe={"epochs": 17, "ema_decay": 0.5})
            )
    return paths


def networks_table(paths, retrained):
    """The networks of the run, as architectures.parquet has them."""
    rows = np.array(ARCHITECTURES)
    columns = {
        "network": [0, 1],
        "origin": ["mode", "drawn"],
        "distribution": [1, 0],
        "coefficient": [0.3, 0.0],
        "target": [None, None],
        "limits": [None, '{"params": 20000.0}'],
        "architecture": ARCHITECTURES,
        "architecture_readable": [SPACE.search_space.describe(row) for row in ARCHITECTURES],
        **{name: cost(rows) for name, cost in SPACE.costs.items()},
        "complexity": [0.1, 0.5],
        "mode_probability": [0.5, None],
        "evaluation_id": [None, None],
        "supernet_loss": [0.5, 0.4],
        "supernet_accuracy": [0.8123, 0.9012],
        "supernet_test_accuracy": [0.8, 0.9],
        "retrained_loss": [0.2 if number in retrained else None for number in (0, 1)],
        "retrained_accuracy": [0.9567 if number in retrained else None for number in (0, 1)],
        "retrained_epochs": [17 if number in retrained else None for number in (0, 1)],
        **paths,
    }
    return make_table(architectures_schema(list(SPACE.costs)), columns)


def quiet():
    return Console(quiet=True)


def network_of(run_path, number, kind):
    opened, family = open_run(run_path), load_family(run_path)
    return load_weights(opened, family, family.architectures.to_dict("records")[number], kind)


def folder_of(run_path, number):
    return Path(run_path) / "networks" / str(number) / "export"
