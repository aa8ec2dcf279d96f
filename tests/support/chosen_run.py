"""A run as a finished search leaves it, without the search."""

from collections.abc import Sequence
from pathlib import Path

import torch

from multinas_ray.data import DataConfig
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import (
    ARCHITECTURES_FILE,
    CANDIDATES_FILE,
    architectures_schema,
    candidates_schema,
    write_config,
)
from multinas_ray.storage import make_table, resolve, write_parquet
from multinas_ray.supernets import WeightTraining, build_subnet
from tests.support.tiny_search import tiny_space

SMALL, LARGE = (2, 0, 2), (1, 1, 1)


def write_chosen_run(folder: Path, architectures: Sequence[tuple[int, ...]] = (SMALL, LARGE)) -> str:
    """Write a run of the tiny space whose search chose `architectures`; returns its path."""
    config = OneShotSearchConfig(
        space=tiny_space(),
        data=DataConfig(source="digits"),
        name="chosen",
        storage_path=str(folder),
        coefficients=(0.0, 1.0),
        warmup_rounds=1,
        search_rounds=1,
        training=WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32),
    )
    write_config(config.run_path, config.to_dict())
    write_family(config.run_path, architectures)
    return config.run_path


def write_family(path: str, architectures: Sequence[tuple[int, ...]]) -> None:
    """Write architectures.parquet and the weights that the networks had in the supernet."""
    space, number = tiny_space(), len(architectures)
    schema = architectures_schema(list(space.costs))
    columns: dict[str, object] = {name: [None] * number for name in schema.names}
    costs = {name: [float(cost([each])[0]) for each in architectures] for name, cost in space.costs.items()}
    columns |= {
        **costs,
        "network": list(range(number)),
        "origin": ["mode"] * number,
        "architecture": [list(each) for each in architectures],
        "architecture_readable": [space.search_space.describe(each) for each in architectures],
        "complexity": [value / space.costs["params"].maximum for value in costs["params"]],
        "supernet_test_accuracy": [0.5] * number,
        "weights_path": [f"networks/{network}/weights.pt" for network in range(number)],
    }
    write_parquet(resolve(path).join(ARCHITECTURES_FILE), make_table(schema, columns))
    for network, architecture in enumerate(architectures):
        (Path(path) / "networks" / str(network)).mkdir(parents=True, exist_ok=True)
        weights = build_subnet(space, architecture, seed=7).state_dict()
        torch.save(weights, Path(path) / "networks" / str(network) / "weights.pt")


def write_candidates(path: str, chosen: Sequence[tuple[int, ...]]) -> None:
    """Write candidates.parquet of a family, with the chosen networks alone."""
    space, number = tiny_space(), len(chosen)
    schema = candidates_schema(list(space.costs))
    columns: dict[str, object] = {name: [None] * number for name in schema.names}
    columns |= {name: [float(cost([each])[0]) for each in chosen] for name, cost in space.costs.items()}
    columns |= {
        "network": list(range(number)),
        "origin": ["mode"] * number,
        "architecture": [list(each) for each in chosen],
        "architecture_readable": [space.search_space.describe(each) for each in chosen],
        "complexity": [value / space.costs["params"].maximum for value in columns["params"]],  # type: ignore[attr-defined]
        "rung": [1] * number,
        "images": [100] * number,
        "loss": [1.0] * number,
        "accuracy": [0.5] * number,
        "objective": [1.0] * number,
        "within_budget": [True] * number,
        "chosen": [True] * number,
        "reason": ["the best"] * number,
    }
    write_parquet(resolve(path).join(CANDIDATES_FILE), make_table(schema, columns))
