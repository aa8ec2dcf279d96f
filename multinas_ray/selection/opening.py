"""A run of a supernet search, opened again from its record: its space, its images' configuration, its costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from multinas_ray.cluster import load_module
from multinas_ray.data import DataConfig
from multinas_ray.errors import StateError
from multinas_ray.runs import Run, load_run
from multinas_ray.spaces import AdditiveCost, NetworkSpace, all_costs, space_from_dict
from multinas_ray.storage import AnyPath
from multinas_ray.supernets import WeightTraining

Settings = TypeVar("Settings")


@dataclasses.dataclass(frozen=True)
class OpenedRun:
    """What is needed to build, train and measure the networks of a run."""

    run: Run
    """Its record."""
    space: NetworkSpace
    """The networks that could be found."""
    data: DataConfig
    """The images it searched with, and how they are divided."""
    training: WeightTraining
    """How the supernet's weights were trained."""
    costs: dict[str, AdditiveCost]
    """Every recorded cost, by name."""

    @property
    def seed(self) -> int:
        """The search's seed."""
        return int(self.run.config["seed"])


def open_run(path: AnyPath, *, data_path: str | None = None, imports: Sequence[str] = ()) -> OpenedRun:
    """Open the run of a supernet search.

    Args:
        path: `<storage_path>/<run>`, local or a URI.
        data_path: Where the images lie now; None: where they lay when the search ran.
        imports: Modules or .py files that define blocks of one's own with `register_block`.

    Returns:
        The run, as far as it has come.

    Raises:
        ConfigError: Its blocks are not registered.
        StateError: There is no run, it is damaged, or it is not one of a supernet search.
    """
    run = load_run(path)
    config = run.config
    if "space" not in config or "training" not in config:
        raise StateError(
            f"{run.path} is not the run of a supernet search and has no weights: for a search in a Tune pipeline, "
            "`multinas_ray.tune.best_configs` and `multinas_ray.tune.pareto_front` give its configs, to be trained by "
            "your own trainable"
        )
    for name in imports:
        load_module(name)
    space = space_from_dict(config["space"])
    if space.fingerprint != config["space"].get("fingerprint"):
        raise StateError(
            f"the space of {run.path} is not the one that was searched (its fingerprint differs): its blocks' "
            "definitions have changed since, or config.json was edited; restore either"
        )
    settings = config["settings"]
    path_now = settings["data_path"] if data_path is None else data_path
    return OpenedRun(
        run=run,
        space=space,
        data=_read(DataConfig, run.path, {**config["data"], "path": path_now}),
        training=_read(
            WeightTraining,
            run.path,
            {**config["training"], "activation_bytes_limit": settings["activation_bytes_limit"]},
        ),
        costs=all_costs(space, [AdditiveCost.from_dict(cost) for cost in config["extra_costs"]]),
    )


def _read(kind: type[Settings], path: str, fields: Mapping[str, Any]) -> Settings:
    try:
        return kind(**fields)
    except TypeError as error:
        raise StateError(
            f"the settings in {path} are not those of a {kind.__name__} ({error}): use the version of multinas-ray "
            "that wrote them"
        ) from error
