"""The configuration of a one-shot search: plain settings that are checked when they are made."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le

from multinas_ray.core import (
    TARGET_WEIGHT,
    OptimizerSettings,
    StartKind,
    optimizer_kind,
    settings_of_kind,
)
from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError
from multinas_ray.oneshot.schedule import Plan
from multinas_ray.oneshot.warmup_draws import WarmupKind
from multinas_ray.selection import CANDIDATES_PER_NETWORK, PRIOR, SLICE_SHARE, check_prior
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
from multinas_ray.spaces import Cost, Space, all_costs, cost_from_dict, space_from_dict
from multinas_ray.storage import GivenPath
from multinas_ray.supernets import WeightTraining
from multinas_ray.tasks import Task, read_task


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
    """The settings of one search for K networks in one supernet.

    Raises:
        ConfigError: a setting breaks a rule; the message says what to set instead.
    """

    space: Annotated[Space, ReadBy(_space)]
    """The networks that can be found."""
    data: DataConfig
    """The images, or samples of another kind."""
    task: Annotated[Task, ReadBy(read_task)] = dataclasses.field(default_factory=Task)
    """By what networks are trained and compared; the default is classification."""
    coefficients: Sequence[float] | None = None
    """(K,) weights eps of the complexity, in rising order: the k-th network minimises loss + eps_k * complexity /
    largest complexity. 0 asks for the best network whatever its size; larger weights ask for smaller networks."""
    targets: Sequence[float] | None = None
    """(K,) complexities in their own unit, in rising order and in place of coefficients: the best network within each
    is wanted. Each distribution is held near its target (docs/METHOD.md). When the networks are chosen at the end,
    every target is a hard limit."""
    target_weight: PositiveFloat = TARGET_WEIGHT
    """Weight of the distance from a target against the loss, see `core.targets.targeted_losses`. [ours]"""
    complexity: str = "params"
    """Which cost they are about: "params", "flops" (multiply-adds of one image), or one of `extra_costs`."""
    extra_costs: Annotated[Sequence[Cost], ReadBy(_costs)] = ()
    """Costs of your own beside the space's, such as the latency of a `LatencyTable`; all are recorded."""
    storage_path: Annotated[GivenPath, Flag("storage", metavar="DIR")] = "runs"
    """Folder of all runs; a shared or s3:// one where the cluster has several nodes."""
    name: str
    """Name of the run and of its folder in storage_path."""
    seed: NonNegativeInt = 0
    """Seed of the first weights, the batches and every draw."""

    warmup_rounds: NonNegativeInt
    """Number of weight steps on subnets drawn from the whole space before the distributions move."""
    search_rounds: PositiveInt
    """Number of rounds that evaluate subnets and move the distributions."""
    train_during_search: bool = True
    """Whether the weights are trained while the distributions move. False: weights first; the warm-up is then the whole
    training, and the distributions move on fixed losses: of fixed weights, on one batch of validation images."""
    warmup_draws: WarmupKind = "fair"
    """How the warm-up draws its subnets: so that all blocks of a position are trained equally often ("fair", the strict
    fairness of FairNAS), or each independently ("uniform"). Every block has the same probability either way."""
    num_train_architectures: PositiveInt | None = None
    """Number of subnets in one weight step; None: K."""
    samples_per_update: PositiveInt | None = None
    """N, the number of subnets that a round evaluates, a multiple of K; None: what suits the kind of optimiser (for
    "distributions" 2 K while weights train and 4 K with weights first, for "screened" K)."""
    memory: NonNegativeInt | None = None
    """Number of earlier updates whose samples an update uses again; None: 0 while weights train, since losses age, and
    with weights first what suits the kind of optimiser (4 for "distributions")."""
    margin_scale: PositiveFloat = 0.5
    """Factor on the least probability of each category (docs/METHOD.md, step 8). Larger values explore longer. The
    default is half of the published margin, since with few variables the whole margin lets even the mode of a
    distribution that has decided wander. [ours]"""
    optimizer: str = "distributions"
    """Kind of the optimiser that moves the distributions. "screened", for weights first alone, chooses by a surrogate
    what to evaluate; register your own with `core.register_optimizer`."""
    start: StartKind | None = None
    """The distributions before the first round: "uniform"; each near its target, "targets"; or each near networks of
    its target that the `prior` finds promising, "prior" (docs/METHOD.md). None: near the targets for an optimiser with
    a surrogate and a complexity that is a sum over the blocks, and uniform otherwise."""
    optimizer_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further settings of this kind of optimiser by name, such as {"alpha": 1.2}; see the class of its settings."""
    training: WeightTraining = dataclasses.field(default_factory=WeightTraining)
    """How the weights of the supernet are trained."""

    candidates_per_network: PositiveInt = CANDIDATES_PER_NETWORK
    """Number of candidates for each network at the choice: modes of the distributions, the best evaluated, draws,
    mutations of the best, and uniform draws from the slice. They are evaluated by successive halving; 10 or fewer all
    on all validation images."""
    slice_share: Annotated[float, Gt(0), Le(1)] = SLICE_SHARE
    """The last part of each target in which candidates are sought: 0.1 asks for networks that use more than 90 % of
    it."""
    prior: Sequence[str] = PRIOR
    """What untrained networks promise, by the names of its parts: "depth", "early_depth", "naswot" or one of your own
    (`register_prior`). At the choice their ranks count beside that of the loss. Empty: the loss alone counts."""
    prior_weight: NonNegativeFloat | None = None
    """How much each part of the prior counts, where the loss counts 1; None: 1, falling with the weight steps, see
    `selection.prior.prior_weight`."""

    num_workers: Annotated[PositiveInt, Flag(metavar="W", read=_workers)] = 1
    """Workers that hold the supernet, each with its shard of every batch. The flag takes MIN:MAX too, and sets
    `min_workers` then."""
    min_workers: PositiveInt | None = None
    """Number of workers with which the search goes on while nodes are missing; None: it waits for all workers."""
    node_wait_seconds: NonNegativeFloat = 0.0
    """Longest wait at the start for nodes that the autoscaler is asked for. 0: the nodes must be there already."""
    use_gpu: bool = False
    """Whether each worker has one GPU."""
    deterministic: bool = False
    """Compute the same from the same on a GPU too, by slower algorithms. An operation that has none, such as one of
    your own model, ends the run with an error that names it."""
    cpus_per_worker: PositiveFloat = 1.0
    """Logical CPUs that each worker asks Ray for."""
    threads_per_worker: PositiveInt | None = None
    """CPU threads of torch in each worker; None: the workers of a node share its cores, but have one where a pass
    through the largest network takes less than 100 million multiply-adds."""
    max_worker_failures: Annotated[int, Ge(-1)] = 3
    """How often the worker group may be restarted before the search stops with an error; -1: without limit."""
    rounds_ahead: PositiveInt = 4
    """Number of rounds that are drawn ahead, so that workers need not wait for the driver. 1: strictly one after the
    other."""
    rounds_per_block: PositiveInt | None = None
    """Number of rounds in the block of one Tune trial; None: at least 16, and so many that there are at most 200
    trials."""
    blocks_in_flight: PositiveInt = 2
    """Number of Tune trials at the same time."""
    checkpoint_interval_seconds: PositiveFloat = 120.0
    """Least time between two checkpoints of the supernet. A crash loses the weight steps since the last one."""
    upload_seconds: PositiveFloat = 5.0
    """Time between two uploads of the record where storage_path is in an object store. Rounds are safe on the driver's
    disk at once; only the loss of this machine, or of its disk, loses those since the last upload."""

    def __post_init__(self) -> None:
        check_extra_costs(self.space, self.extra_costs)
        if self.complexity not in self.costs:
            known = ", ".join(self.costs)
            raise ConfigError(f"complexity must be one of {known}, got {self.complexity!r}")
        if not self.cost.maximum > 0:
            raise ConfigError(
                f"the complexity must differ from 0 for some network, {self.complexity} does not: choose another cost"
            )
        self._check_goals()
        check_prior(self.prior)
        if self.start == "prior" and not self.prior:
            raise ConfigError("start='prior' needs a prior, got an empty one: name its parts, or choose another start")
        if not self.name or "/" in self.name or self.name.startswith(".") or not self.name.isprintable():
            raise ConfigError(f"name must be a plain folder name, which can be printed, got {self.name!r}")
        if not 1 <= self.fewest_workers <= self.num_workers:
            raise ConfigError(f"min_workers must be from 1 to num_workers={self.num_workers}, got {self.min_workers}")
        self.training.check_num_workers(self.num_workers)
        if self.optimizer_settings.needs_fixed_losses and self.train_during_search:
            raise ConfigError(
                f"the optimiser must accept losses that change, as those of a supernet in training do, "
                f"{self.optimizer!r} does not: choose another, or train_during_search=False"
            )
        if self.training.label_smoothing and not self.task.is_classification:
            raise ConfigError(
                f"label_smoothing is for the loss cross_entropy, got {self.training.label_smoothing} with "
                f"{self.task.loss}: leave it out"
            )
        _ = self.plan

    def _check_goals(self) -> None:
        if (self.coefficients is None) == (self.targets is None):
            raise ConfigError("a search must have either coefficients or targets: give one of the two")
        if self.targets is None:
            return
        if not self.targets or any(not low < high for low, high in itertools.pairwise(self.targets)):
            raise ConfigError(f"targets must be one or more complexities in rising order, got {self.targets}")
        least, most = self.cost.minimum, self.cost.maximum
        outside = [target for target in self.targets if not least <= target <= most]
        if outside:
            raise ConfigError(
                f"targets must lie within what networks of the space have, {least:.10g} to {most:.10g} "
                f"{self.cost.unit or self.complexity}, got {', '.join(f'{each:.10g}' for each in outside)}"
            )

    @property
    def num_distributions(self) -> int:
        """K, the number of distributions and of goals."""
        return len(self.coefficients if self.targets is None else self.targets)  # type: ignore[arg-type]  # one of them is given

    @property
    def fewest_workers(self) -> int:
        """The number of workers below which the search waits."""
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
        """The number of rounds and their content."""
        return Plan(
            warmup_rounds=self.warmup_rounds,
            search_rounds=self.search_rounds,
            num_train_architectures=_default(self.num_train_architectures, self.num_distributions),
            train_during_search=self.train_during_search,
            warmup_draws=self.warmup_draws,
            rounds_ahead=self.rounds_ahead,
        )

    @property
    def costs(self) -> dict[str, Cost]:
        """All costs by name: those of the space, then your own."""
        return all_costs(self.space, self.extra_costs)

    @property
    def cost(self) -> Cost:
        """The complexity of the search, in its own unit."""
        return self.costs[self.complexity]

    @property
    def complexity_scale(self) -> float:
        """The cost that counts as a complexity of 1: the largest of the space."""
        return self.cost.maximum

    @property
    def optimizer_settings(self) -> OptimizerSettings:
        """The settings of the K distributions. With the record they give the distributions again.

        For start="prior" they lack the architectures that `start.new_description` finds.
        """
        scale, targets, additive = self.complexity_scale, self.targets, self.cost.additive
        kind = optimizer_kind(self.optimizer)
        strata, memory = kind.default_strata, 0
        if not self.train_during_search:
            strata, memory = kind.strata_for_fixed_losses, kind.memory_for_fixed_losses
        # Measured on the large space of docs/experiments.md: it helps a surrogate's search where targets are far out
        near = kind.needs_fixed_losses and targets is not None and additive is not None
        return settings_of_kind(
            self.optimizer,
            self.optimizer_options,
            num_categories=self.space.search_space.num_categories,
            coefficients=None if self.coefficients is None else tuple(self.coefficients),
            targets=None if targets is None else tuple(target / scale for target in targets),
            target_weight=self.target_weight,
            samples_per_update=_default(self.samples_per_update, strata * self.num_distributions),
            memory=_default(self.memory, memory),
            margin_scale=self.margin_scale,
            cost_table=None if additive is None else additive.table / scale,
            base_cost=0.0 if additive is None else additive.base / scale,
            start=self.start or ("targets" if near else "uniform"),
        )

    def identity(self) -> dict[str, Any]:
        """The settings that a resumed run must share with its start: all that decide what is searched and how."""
        plan = dataclasses.asdict(self.plan)
        del plan["rounds_ahead"]
        training = dataclasses.asdict(self.training)
        del training["activation_bytes_limit"]  # it changes how the work is divided, not the result
        optimizer = self.optimizer_settings.to_dict()
        if optimizer["start_architectures"] is None:  # those of a start from the prior are found once, and recorded
            del optimizer["start_architectures"]
        return {
            "seed": self.seed,
            "space": {"fingerprint": self.space.fingerprint, **self.space.to_dict()},
            "data": self.data.identity(),
            "task": self.task.to_dict(),
            "training": training,
            "plan": plan,
            "complexity": {"name": self.complexity, "scale": self.complexity_scale, "unit": self.cost.unit},
            "extra_costs": [cost.to_dict() for cost in self.extra_costs],
            "targets": None if self.targets is None else list(self.targets),
            "optimizer": optimizer,
        }

    def to_settings(self) -> dict[str, Any]:
        """All settings as plain data, for a file that gives the same search again."""
        settings: dict[str, Any] = to_plain(self)
        for name in ("extra_costs", "space"):  # the long ones at the end
            settings[name] = settings.pop(name)
        return settings

    def to_dict(self) -> dict[str, Any]:
        """Return a plain JSON description, which is written beside the results."""
        settings = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("space", "data", "task", "training", "coefficients", "targets", "extra_costs")
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


def check_extra_costs(space: Space, extra_costs: Sequence[Cost]) -> None:
    """Check that your own costs belong to a space.

    Raises:
        ConfigError: a cost is for another space, may be negative, or has a name that is taken or cannot name a column.
    """
    from multinas_ray.runs import evaluations_schema

    evaluations_schema([*space.costs, *(cost.name for cost in extra_costs)])  # checks the names
    for cost in extra_costs:
        if cost.num_categories != space.search_space.num_categories:
            raise ConfigError(
                f"the cost {cost.name!r} must fit the space {space.name!r}, whose positions have "
                f"{space.search_space.num_categories} blocks, it has {cost.num_categories}: make it from this space "
                "(Space.additive_cost)"
            )
        if cost.minimum < 0:
            raise ConfigError(f"a cost must be at least 0, {cost.name!r} can be {cost.minimum:g}: add a constant to it")


def _default(value: int | None, default: int) -> int:
    return default if value is None else value
