"""The configuration of a one-shot search: plain settings, checked where they are made."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

from annotated_types import Ge

from multinas_ray.core import TARGET_WEIGHT, Optimizer, OptimizerSettings, make_optimizer, optimizer_kind
from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError
from multinas_ray.oneshot.schedule import Plan
from multinas_ray.selection import CANDIDATES_PER_NETWORK
from multinas_ray.settings import (
    Flag,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ReadBy,
    checked,
    to_plain,
)
from multinas_ray.spaces import Cost, NetworkSpace, all_costs, cost_from_dict, space_from_dict
from multinas_ray.supernets import WeightTraining


def _workers(text: str) -> dict[str, int | None]:
    """`num_workers` from W, or from MIN:MAX together with `min_workers`."""
    least, colon, most = text.rpartition(":")
    if not most.isdecimal() or bool(colon) != least.isdecimal():
        raise argparse.ArgumentTypeError(f"give a number of workers, or MIN:MAX as 4:8, not {text!r}")
    return {"num_workers": int(most), "min_workers": int(least) if colon else None}


def _space(description: Any) -> Any:
    """A space of its description; anything else stays as it is, for the check to tell."""
    return space_from_dict(description) if isinstance(description, Mapping) else description


def _costs(descriptions: Any) -> Any:
    """Costs of their descriptions; anything else stays as it is, for the check to tell."""
    if not isinstance(descriptions, (list, tuple)):
        return descriptions
    return [cost_from_dict(each) if isinstance(each, Mapping) else each for each in descriptions]


RECORDED_PACKAGES = ("multinas-ray", "ray", "torch", "torchvision", "numpy", "pyarrow")


@checked
@dataclass(frozen=True, kw_only=True)
class OneShotSearchConfig:
    """One search: K networks from one supernet.

    Raises:
        ConfigError: a setting breaks a rule; the message says which, and what to set instead.
    """

    space: Annotated[NetworkSpace, ReadBy(_space)]
    """The networks that can be found."""
    data: DataConfig
    """The images."""
    coefficients: Sequence[float] | None = None
    """(K,) increasing weights eps of the complexity: the k-th network minimises loss + eps_k * complexity / largest
    complexity. 0 asks for the best network whatever its size, a larger one for a smaller network."""
    targets: Sequence[float] | None = None
    """(K,) increasing complexities in their own unit, in place of coefficients: the best network within each. Each
    distribution is held near its target (docs/METHOD.md); the choice of the networks at the end keeps every target as
    a hard limit."""
    target_weight: PositiveFloat = TARGET_WEIGHT
    """What being far from a target weighs against the loss, see `core.targets.targeted_losses`. [ours]"""
    complexity: str = "params"
    """Which cost they are about: "params", "flops" (multiply-adds of one image), or one of `extra_costs`."""
    extra_costs: Annotated[Sequence[Cost], ReadBy(_costs)] = ()
    """Costs of your own beside the space's, such as the latency of a `LatencyTable`; all are recorded."""
    storage_path: Annotated[str, Flag("storage", metavar="DIR")] = "runs"
    """Folder of all runs; a shared or s3:// one where the cluster has several nodes."""
    name: str
    """Name of the run, and of its folder in storage_path."""
    seed: NonNegativeInt = 0
    """Decides the weights' start, the batches and every draw."""

    warmup_rounds: NonNegativeInt
    """Weight steps on uniformly drawn subnets before the distributions move."""
    search_rounds: PositiveInt
    """Rounds that evaluate subnets and move the distributions."""
    train_during_search: bool = True
    """False: weights first. The warm-up is then the whole training, and the distributions move on fixed weights."""
    num_train_architectures: PositiveInt | None = None
    """Subnets of one weight step; None: K."""
    samples_per_update: PositiveInt | None = None
    """N, the subnets evaluated in a round, a multiple of K; None: 2 K."""
    memory: NonNegativeInt = 0
    """Earlier draws that an update uses again. For fixed weights: losses age while weights train."""
    margin_scale: PositiveFloat = 0.5
    """Multiplies the least probability of each category (docs/METHOD.md, step 8). Half is our default: with few
    variables the whole margin keeps even a decided distribution's mode wandering. More explores longer."""
    optimizer: str = "distributions"
    """Kind of the optimiser that moves the distributions; see `core.register_optimizer` for one of your own."""
    optimizer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Settings that only this kind has, by name, such as {"alpha": 1.2}; see its settings' class."""
    training: WeightTraining = dataclasses.field(default_factory=WeightTraining)
    """How the weights are trained."""

    candidates_per_network: PositiveInt = CANDIDATES_PER_NETWORK
    """Architectures that are evaluated on all validation images for each network before one is chosen: the mode of
    its distribution, the best evaluated and fresh draws."""

    num_workers: Annotated[PositiveInt, Flag(metavar="W", read=_workers)] = 1
    """Workers that hold the supernet, each with its shard of every batch. The flag takes MIN:MAX too, and sets
    `min_workers` then."""
    min_workers: PositiveInt | None = None
    """Workers with which the search goes on when nodes are lost, until they are back; None: it waits for all."""
    node_wait_seconds: NonNegativeFloat = 0.0
    """Longest wait at the start for nodes that an autoscaler is asked for. 0: the nodes must be there."""
    use_gpu: bool = False
    """One GPU a worker."""
    cpus_per_worker: PositiveFloat = 1.0
    """Logical CPUs each worker asks Ray for."""
    threads_per_worker: PositiveInt | None = None
    """CPU threads of torch in each worker; None: the node's cores shared by its workers."""
    max_worker_failures: Annotated[int, Ge(-1)] = 3
    """Restarts of the worker group before the search is given up; -1: no limit."""
    rounds_ahead: PositiveInt = 4
    """Rounds that are out at any time, so that workers never wait for the driver. 1: strictly one after the other."""
    rounds_per_block: PositiveInt | None = None
    """Rounds that one Tune trial stands for; None: at least 16, and at most 200 trials."""
    blocks_in_flight: PositiveInt = 2
    """Tune trials at a time."""
    checkpoint_interval_seconds: PositiveFloat = 120.0
    """Least time between two checkpoints of the supernet: what a crash may cost in weight steps."""

    def __post_init__(self) -> None:
        from multinas_ray.storage import resolve

        if self.data.path is not None:  # workers have working directories of their own
            object.__setattr__(self, "data", dataclasses.replace(self.data, path=str(resolve(self.data.path))))
        check_extra_costs(self.space, self.extra_costs)
        if self.complexity not in self.costs:
            known = ", ".join(self.costs)
            raise ConfigError(f"complexity must be one of {known}, got {self.complexity!r}")
        if not self.cost.maximum > 0:
            raise ConfigError(f"the complexity {self.complexity} is 0 for every network: choose another cost")
        self._check_goals()
        if not self.name or "/" in self.name or self.name.startswith("."):
            raise ConfigError(f"name must be a plain folder name, got {self.name!r}")
        if not 1 <= self.fewest_workers <= self.num_workers:
            raise ConfigError(f"min_workers must be from 1 to num_workers={self.num_workers}, got {self.min_workers}")
        self.training.check_num_workers(self.num_workers)
        if self.optimizer_settings.needs_fixed_losses:
            raise ConfigError(
                f"the optimiser {self.optimizer!r} needs losses that do not change, and a supernet's do from batch to "
                "batch; choose another"
            )
        _ = self.plan

    def _check_goals(self) -> None:
        if (self.coefficients is None) == (self.targets is None):
            raise ConfigError("a search has either coefficients or targets; give one of the two")
        if self.targets is None:
            return
        if not self.targets or any(not low < high for low, high in itertools.pairwise(self.targets)):
            raise ConfigError(f"targets must be one or more increasing complexities, got {self.targets}")
        least, most = self.cost.minimum, self.cost.maximum
        outside = [target for target in self.targets if not least <= target <= most]
        if outside:
            raise ConfigError(
                f"targets must lie within what the space's networks have, {least:.10g} to {most:.10g} "
                f"{self.cost.unit or self.complexity}; got {', '.join(f'{each:.10g}' for each in outside)}"
            )

    @property
    def num_distributions(self) -> int:
        """K."""
        return len(self.coefficients if self.targets is None else self.targets)  # type: ignore[arg-type]

    @property
    def fewest_workers(self) -> int:
        """Workers without which the search waits."""
        return _default(self.min_workers, self.num_workers)

    @property
    def run_path(self) -> str:
        """The run's folder: a URI, or an absolute path, since workers have working directories of their own."""
        from multinas_ray.storage import resolve  # here, so that reading the settings loads no pyarrow

        return str(resolve(self.storage_path).join(self.name))

    @property
    def curves_path(self) -> str:
        """Where TensorBoard's files go: into the run's folder, or a local one where the run is in an object store."""
        from multinas_ray.storage import resolve

        run = resolve(self.run_path)
        return str(run.join("tensorboard") if run.is_local else resolve("tensorboard").join(self.name))

    @property
    def plan(self) -> Plan:
        """Rounds and what they hold."""
        return Plan(
            warmup_rounds=self.warmup_rounds,
            search_rounds=self.search_rounds,
            num_train_architectures=_default(self.num_train_architectures, self.num_distributions),
            train_during_search=self.train_during_search,
            rounds_ahead=self.rounds_ahead,
        )

    @property
    def costs(self) -> dict[str, Cost]:
        """All costs by name: the space's, then those of one's own."""
        return all_costs(self.space, self.extra_costs)

    @property
    def cost(self) -> Cost:
        """The complexity of the search, in its own unit."""
        return self.costs[self.complexity]

    @property
    def complexity_scale(self) -> float:
        """The complexity that counts as 1: the space's largest."""
        return self.cost.maximum

    @property
    def optimizer_settings(self) -> OptimizerSettings:
        """Settings of the K distributions; with the record they give the distributions again."""
        scale, targets, additive = self.complexity_scale, self.targets, self.cost.additive
        return optimizer_kind(self.optimizer)(
            num_categories=self.space.search_space.num_categories,
            coefficients=None if self.coefficients is None else tuple(self.coefficients),
            targets=None if targets is None else tuple(target / scale for target in targets),
            target_weight=self.target_weight,
            samples_per_update=self.samples_per_update,
            memory=self.memory,
            margin_scale=self.margin_scale,
            cost_table=None if additive is None else additive.table / scale,
            base_cost=0.0 if additive is None else additive.base / scale,
            **self.optimizer_options,
        )

    def new_optimizer(self) -> Optimizer:
        """The K distributions at their start."""
        return make_optimizer(self.optimizer_settings, seed=self.seed)

    def identity(self) -> dict[str, Any]:
        """What a resumed run must share with its start: all that decides what is searched and how."""
        plan = dataclasses.asdict(self.plan)
        del plan["rounds_ahead"]
        training = dataclasses.asdict(self.training)
        del training["activation_bytes_limit"]  # computes the same in other pieces
        return {
            "seed": self.seed,
            "space": {"fingerprint": self.space.fingerprint, **self.space.to_dict()},
            "data": self.data.identity(),
            "training": training,
            "plan": plan,
            "complexity": {"name": self.complexity, "scale": self.complexity_scale, "unit": self.cost.unit},
            "extra_costs": [cost.to_dict() for cost in self.extra_costs],
            "targets": None if self.targets is None else list(self.targets),
            "optimizer": self.optimizer_settings.to_dict(),
        }

    def to_settings(self) -> dict[str, Any]:
        """All settings as plain data, for a file that gives the same search again."""
        settings: dict[str, Any] = to_plain(self)
        for name in ("extra_costs", "space"):  # the long ones at the end
            settings[name] = settings.pop(name)
        return settings

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description, written beside the results."""
        settings = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("space", "data", "training", "coefficients", "targets", "extra_costs")
        }
        settings["data_path"] = self.data.path
        settings["activation_bytes_limit"] = self.training.activation_bytes_limit
        return {
            "kind": "oneshot",
            **self.identity(),
            "costs": list(self.costs),
            "labels": self.space.search_space.labels,
            "name": self.name,
            "settings": settings,
            "num_evaluations": self.search_rounds * self.optimizer_settings.update_size,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in RECORDED_PACKAGES},
            },
        }


def check_extra_costs(space: NetworkSpace, extra_costs: Sequence[Cost]) -> None:
    """Check that costs of one's own belong to a space.

    Raises:
        ConfigError: one is for another space, may be negative, or has a name that is taken or can name no column.
    """
    from multinas_ray.runs import evaluations_schema

    evaluations_schema([*space.costs, *(cost.name for cost in extra_costs)])  # checks the names
    for cost in extra_costs:
        if cost.num_categories != space.search_space.num_categories:
            raise ConfigError(
                f"the cost {cost.name!r} is for choices {cost.num_categories}, the space {space.name!r} has "
                f"{space.search_space.num_categories}: make it from this space (NetworkSpace.additive_cost)"
            )
        if cost.minimum < 0:
            raise ConfigError(f"the cost {cost.name!r} can be negative ({cost.minimum:g}): costs are 0 or more")


def _default(value: int | None, default: int) -> int:
    return default if value is None else value
