"""Opening the run of a supernet search again: its space, its costs and the configuration of its images."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from multinas_ray.cluster import load_module
from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import Run, load_run
from multinas_ray.settings import checked, checked_arguments
from multinas_ray.spaces import Cost, Space, all_costs, cost_from_dict, space_from_dict
from multinas_ray.storage import AnyPath
from multinas_ray.supernets import WeightTraining
from multinas_ray.tasks import Task, read_task

Settings = TypeVar("Settings")


@checked
@dataclasses.dataclass(frozen=True)
class OpenedRun:
    """What is needed to build, train and measure the networks of a run."""

    run: Run
    """The run's record."""
    space: Space
    """The space that was searched."""
    data: DataConfig
    """The images of the search, and how they are divided."""
    training: WeightTraining
    """How the weights of the supernet were trained."""
    task: Task
    """By what networks are trained and compared."""
    costs: dict[str, Cost]
    """Every cost that the run records, by name."""

    @property
    def seed(self) -> int:
        """The seed of the search."""
        return int(self.run.config["seed"])

    @property
    def weight_steps(self) -> int:
        """Planned training steps of one subnet on one batch."""
        plan = self.run.config["plan"]
        rounds = plan["warmup_rounds"] + (plan["search_rounds"] if plan["train_during_search"] else 0)
        return int(rounds * plan["num_train_architectures"])


@checked_arguments
def open_run(path: AnyPath, *, data_path: str | None = None, imports: Sequence[str] = ()) -> OpenedRun:
    """Open the run of a supernet search.

    Args:
        path: `<storage_path>/<run>`, local or a URI.
        data_path: Where the images are now; None: where they were during the search.
        imports: Modules or .py files that define your own blocks with `register_block`.

    Returns:
        The run, as far as it has progressed.

    Raises:
        ConfigError: A block type of its space is not registered.
        StateError: There is no run, it is damaged, or it is not the run of a supernet search.
    """
    run = load_run(path)
    config = run.config
    if run.kind != "oneshot":
        raise StateError(
            f"{run.path} is not the run of a supernet search, so it has no weights: if it is a search in a Tune "
            "pipeline, `multinas_ray.tune.best_configs` and `multinas_ray.tune.pareto_front` give its configurations, "
            "which your own trainable can train"
        )
    for name in imports:
        load_module(name)
    space = space_from_dict(config["space"])
    if space.fingerprint != config["space"].get("fingerprint"):
        raise StateError(
            f"the space of {run.path} is not the one that was searched (its fingerprint differs): restore the "
            "definitions of its blocks, or config.json, as they were during the search"
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
        task=_task(run.path, config.get("task")),
        costs=all_costs(space, [cost_from_dict(cost) for cost in config["extra_costs"]]),
    )


def _task(path: str, description: Any) -> Task:
    try:
        task: Task = read_task(description)
    except TypeError as error:
        raise StateError(f"the settings in {path} do not describe a Task ({error}): restore its config.json") from error
    return task


def _read(kind: type[Settings], path: str, fields: Mapping[str, Any]) -> Settings:
    try:
        return kind(**fields)
    except ConfigError as error:
        raise StateError(
            f"the settings in {path} do not describe a {kind.__name__} ({error}): use the version of multinas-ray "
            "that wrote them"
        ) from error
