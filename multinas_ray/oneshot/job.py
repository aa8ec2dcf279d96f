"""The job of a worker: everything that it needs besides the rounds. It does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from multinas_ray.cluster import software_versions
from multinas_ray.data import DataConfig
from multinas_ray.settings import checked
from multinas_ray.spaces import Space
from multinas_ray.supernets import WeightTraining
from multinas_ray.tasks import Task


@checked
@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """Everything that a worker needs besides the rounds themselves."""

    space: Space
    data: DataConfig
    training: WeightTraining
    task: Task = field(default_factory=Task)
    num_weight_steps: int
    """Number of weight steps of the whole search, for the schedule of the learning rate. They are the rounds below this
    number."""
    warmup_rounds: int
    """Number of weight steps before anything is evaluated."""
    weights_first: bool = False
    """Whether all weight steps come before the distributions move."""
    seed: int
    broker: str
    """Name of the broker actor."""
    namespace: str
    """Ray namespace of the broker actor."""
    run_path: str
    """Folder of the run, into which the trained supernet is written."""
    deterministic: bool = False
    """Whether the same is computed from the same on a GPU too."""
    threads_per_worker: int | None = None
    """CPU threads of torch; None: the workers of a node share its cores."""
    versions: Mapping[str, str | None] = field(default_factory=software_versions)
    """Versions of the driver's software, which every worker's node must have."""
