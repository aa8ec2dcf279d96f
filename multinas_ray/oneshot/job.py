"""What a worker needs to know, besides the rounds themselves. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from multinas_ray.data import DataConfig
from multinas_ray.spaces import NetworkSpace
from multinas_ray.supernets import WeightTraining


@dataclass(frozen=True, kw_only=True)
class WorkerJob:
    """All that a worker needs, besides the rounds themselves."""

    space: NetworkSpace
    data: DataConfig
    training: WeightTraining
    num_weight_steps: int
    """Weight steps of the whole search, for the learning rate's schedule; they are the rounds below this number."""
    weights_first: bool = False
    """Whether no weight is trained while the distributions move."""
    seed: int
    broker: str
    """Name of the broker actor."""
    namespace: str
    """Ray namespace of the broker actor."""
    run_path: str
    """Folder of the run, where the trained supernet goes."""
    threads_per_worker: int | None = None
    """CPU threads of torch; None: this node's cores shared by the workers on it."""
