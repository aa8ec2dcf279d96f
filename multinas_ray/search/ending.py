"""What a search leaves: the K networks, from small to large, with their figures, weights and picture."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from multinas_ray.core import MultiDistributionOptimizer
from multinas_ray.results import (
    Run,
    architectures_schema,
    config_metadata,
    load_run,
    resolve,
    write_atomic,
    write_finished,
    write_table,
)
from multinas_ray.results.plots import plot_pareto
from multinas_ray.results.run import ARCHITECTURES_FILE
from multinas_ray.results.storage import make_folder
from multinas_ray.search.config import OneShotSearchConfig
from multinas_ray.train.messages import NetworkResult
from multinas_ray.tune.watch import distribution_table, format_count

PARETO_FILE = "pareto.png"


def order_by_size(config: OneShotSearchConfig, optimizer: MultiDistributionOptimizer) -> NDArray[np.int64]:
    """(K,) distributions by their mode's complexity, small to large; at equal sizes the larger coefficient first."""
    complexities = config.cost(optimizer.modes())
    return np.lexsort((-np.array(config.coefficients), complexities)).astype(np.int64)


def final_architectures(config: OneShotSearchConfig, optimizer: MultiDistributionOptimizer) -> NDArray[np.int64]:
    """(K, D) modes of the distributions, from small to large: the method's answer."""
    return optimizer.modes()[order_by_size(config, optimizer)]


def write_networks(
    config: OneShotSearchConfig,
    optimizer: MultiDistributionOptimizer,
    networks: list[NetworkResult],
    elapsed_seconds: float,
    restarts: int,
) -> None:
    """Write architectures.parquet, each network's readable architecture, the finished mark and the picture.

    Args:
        config: the search.
        optimizer: its distributions at the end.
        networks: their results, from small to large.
        elapsed_seconds: wall time of the run over all its sessions.
        restarts: times the driver was started again.
    """
    place, space = resolve(config.run_path), config.space.search_space
    schema = architectures_schema(list(config.costs))
    columns = _architecture_columns(config, optimizer, networks)
    write_table(place.join(ARCHITECTURES_FILE), schema, config_metadata(config.to_dict()), columns)
    for rank, row in enumerate(final_architectures(config, optimizer).tolist()):
        folder = place.join("networks", str(rank))
        make_folder(folder)
        described = {"space": config.space.name, "indices": row, "choices": space.decode(row)}
        write_atomic(folder.join("architecture.json"), json.dumps(described, indent=2).encode())
    totals = {"num_evaluations": optimizer.num_told, "num_updates": optimizer.num_updates, "num_restarts": restarts}
    write_finished(config.run_path, {**totals, "elapsed_seconds": elapsed_seconds})
    plot_pareto(load_run(config.run_path), place.join(PARETO_FILE), cost=config.complexity)


def _architecture_columns(
    config: OneShotSearchConfig, optimizer: MultiDistributionOptimizer, networks: list[NetworkResult]
) -> dict[str, object]:
    """The columns of `architectures_schema` for the distributions' modes, from small to large."""
    order, architectures = order_by_size(config, optimizer), final_architectures(config, optimizer)
    costs = {name: cost(architectures) for name, cost in config.costs.items()}
    none = [None] * len(networks)
    return {
        "rank": np.arange(len(networks)),
        "selection": ["mode"] * len(networks),
        "distribution": order,
        "coefficient": np.array(config.coefficients)[order],
        "target": none,
        "limits": none,
        "architecture": architectures,
        "architecture_readable": [config.space.search_space.describe(row) for row in architectures],
        **costs,
        "complexity": costs[config.complexity] / config.complexity_scale,
        "mode_probability": optimizer.diagnostics()["mode_probability"][order],
        "evaluation_id": none,
        "supernet_loss": [network.validation_loss for network in networks],
        "supernet_accuracy": [network.validation_accuracy for network in networks],
        "supernet_test_accuracy": [network.test_accuracy for network in networks],
        "weights_path": [network.weights_path for network in networks],
        "retrained_loss": none,
        "retrained_accuracy": none,
        "retrained_epochs": none,
        "retrained_path": none,
    }


def latest_distributions_table(run: Run) -> Table | None:
    """The K distributions at a run's newest recorded update, for the terminal; None before the first."""
    if run.distributions.empty:
        return None
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    diagnostics = {name: newest[name].to_numpy() for name in newest}
    return distribution_table(diagnostics, run.config["complexity"]["name"], run.config["complexity"]["scale"])


def networks_table(run: Run) -> Group:
    """The K networks of a finished run for the terminal: a table of figures, then the architectures by their rank."""
    costs = [name for name in ("params", "flops") if name in run.architectures]
    table = Table(title=f"{len(run.architectures)} networks, from small to large", title_justify="left")
    for name in ("#", "coeff.", *costs, "val. loss", "val. acc.", "test acc."):
        table.add_column(name, justify="right", no_wrap=True)
    architectures = Table.grid(padding=(0, 1))
    for row in run.architectures.to_dict("records"):
        table.add_row(
            str(row["rank"]),
            f"{row['coefficient']:.3g}",
            *(format_count(row[name]) for name in costs),
            f"{row['supernet_loss']:.4f}",
            f"{row['supernet_accuracy']:.2%}",
            f"{row['supernet_test_accuracy']:.2%}",
        )
        architectures.add_row(f"#{row['rank']}", row["architecture_readable"])
    return Group(table, architectures)
