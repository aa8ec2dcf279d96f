"""The settings from which an optimiser is made: the extension point for kinds of optimisers.

Notation: K distributions, D variables, C categories (padded), N samples.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, MinLen

from multinas_ray.core.layout import CategoryLayout, check_variables
from multinas_ray.core.start import checked_architectures
from multinas_ray.core.targets import TARGET_WEIGHT, targeted_losses
from multinas_ray.core.utility import scalarised_losses
from multinas_ray.errors import ConfigError
from multinas_ray.registry import Registry
from multinas_ray.settings import Unchecked, checked, checked_arguments

if TYPE_CHECKING:
    from multinas_ray.core.arrays import FloatArray
    from multinas_ray.core.protocol import Optimizer

CostTable = tuple[tuple[float, ...], ...]
Architectures = tuple[tuple[tuple[int, ...], ...], ...]
StartKind = Literal["uniform", "targets", "prior"]
SettingsClass = TypeVar("SettingsClass", bound="type[OptimizerSettings]")

_kinds: Registry[type[OptimizerSettings]] = Registry(
    "kind of optimiser",
    {"distributions": "multinas_ray.core.optimizer", "screened": "multinas_ray.core.screened.optimizer"},
)


@checked
@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """Everything that decides how results change the distributions; plain data, checked.

    Each kind of optimiser has a subclass of its own, with the fields that only this kind has:

        @register_optimizer
        @checked
        @dataclass(frozen=True, kw_only=True)
        class MySettings(OptimizerSettings):
            kind: ClassVar[str] = "mine"
            learning_rate: Annotated[float, Gt(0)] = 0.1

            def make(self, seed):
                return MyOptimizer(self, seed)

    Raises:
        ConfigError: A setting breaks a rule; the message says which.
    """

    kind: ClassVar[str]
    """Name of the kind, in settings and records."""
    needs_fixed_losses: ClassVar[bool] = False
    """Whether an architecture must have the same loss at every evaluation, as in a table or a finished training."""
    memory_for_fixed_losses: ClassVar[int] = 4
    """The best `memory` where losses are fixed (docs/experiments.md)."""
    strata_for_fixed_losses: ClassVar[int] = 4
    """The best samples_per_update / K where losses are fixed and samples are reused (docs/experiments.md)."""
    default_strata: ClassVar[int] = 2
    """samples_per_update / K where samples_per_update is not given."""

    num_categories: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]
    """(D,) number of categories of each variable; 1 for a fixed one."""
    num_values: tuple[int, ...] | None = None
    """(D,) number of values of each variable; None: as many as categories. A variable with more values than categories
    is ordered: its categories are cells of neighbouring values, which are split where probability gathers. A number on
    a continuous scale has as many values as the scale shall have steps."""
    conditions: tuple[tuple[int, int] | None, ...] | None = None
    """(D,) where each variable is active: an earlier categorical variable, by its number, and the value that it must
    have; None: everywhere. An architecture has -1 as the value of a variable that is not active."""
    prior: tuple[tuple[float, ...] | None, ...] | None = None
    """(D,) weights of each categorical variable's categories at the start and in the margin; None: all equal."""
    coefficients: Annotated[tuple[Annotated[float, Ge(0)], ...], MinLen(1)] | None = None
    """(K,) eps_k, strictly increasing weights of the complexity. A search has either these or `targets`."""
    targets: Annotated[tuple[Annotated[float, Gt(0)], ...], MinLen(1)] | None = None
    """(K,) T_k, strictly increasing complexities near which the distributions search; see `targets.targeted_losses`."""
    target_weight: Annotated[float, Gt(0)] = TARGET_WEIGHT
    """Weight of the distance from the target in what a distribution with a target minimises."""
    num_distributions: Annotated[int, Ge(1)] | None = None
    """K. It is needed only where coefficients are set later, by `set_coefficients`; otherwise it is the number of
    coefficients or targets."""
    samples_per_update: int | None = None
    """N, the number of results that make an update, a multiple of K; None: the kind's default, 2 K for most."""
    memory: Annotated[int, Ge(0)] = 0
    """Each update uses the samples of this many earlier updates again. It is for losses that do not drift; 0: off."""
    margin_scale: Annotated[float, Gt(0)] = 1.0
    """Factor on the smallest probability that a category may have."""
    cost_table: Annotated[npt.ArrayLike | None, Unchecked()] = None
    """(D, C) costs of an additive complexity, in the unit of the told complexities; entries beyond a variable's
    categories are ignored. It makes expected complexities exact. It is kept as rows of numbers, zero in the padding."""
    base_cost: float = 0.0
    """Constant part of that complexity."""
    start: StartKind = "uniform"
    """The distributions before the first update: all uniform; each near its target, which takes targets and a
    `cost_table`, see `start.start_near_targets`; or each near promising architectures of its target, "prior", which
    takes targets and `start_architectures`, see `start.start_near`."""
    start_architectures: Annotated[Sequence[npt.ArrayLike] | None, Unchecked()] = None
    """Of each of the K targets (F, D) promising architectures, the best first. For start="prior" alone, and needed
    before an optimiser is made. A kind whose proposals need not be drawn proposes the first of them before any others.
    They are kept as rows of numbers."""

    def make(self, seed: int | Sequence[int] | None) -> Optimizer:
        """Returns the optimiser of these settings; see `make_optimizer`."""
        raise NotImplementedError(f"{type(self).__name__} must have a method `make` that returns its optimiser")

    def __post_init__(self) -> None:
        check_variables(self.num_categories, self.num_values, self.conditions, self.prior)
        self._check_numbers()
        self._fill_in("num_distributions", len(self.coefficients or self.targets or ()) or self.num_distributions)
        self._fill_in("samples_per_update", self._checked_samples())
        if self.cost_table is not None:
            self._fill_in("cost_table", _checked_costs(self.cost_table, self.layout))
        self._check_start()
        if self.start_architectures is not None:
            checked = checked_architectures(self.start_architectures, self.layout, self.size)
            self._fill_in("start_architectures", checked)

    def _check_numbers(self) -> None:
        """Check the goals and their number."""
        if self.coefficients is not None and self.targets is not None:
            raise ConfigError("a search has either coefficients or targets; give one of the two")
        goals = self.coefficients or self.targets
        if goals is None and self.num_distributions is None:
            raise ConfigError(
                "the number of distributions must be known: give coefficients, targets or num_distributions"
            )
        for name in ("coefficients", "targets"):
            _check_rising(name, getattr(self, name) or ())
        if goals is not None and self.num_distributions not in (None, len(goals)):
            raise ConfigError(
                f"num_distributions must be the number of coefficients or targets, {len(goals)}, "
                f"got {self.num_distributions}; leave it out"
            )

    def _check_start(self) -> None:
        """Check that the start has what it follows from."""
        if self.start == "targets" and (self.targets is None or self.cost_table is None):
            raise ConfigError(
                "start='targets' needs targets and a cost_table, since it puts each distribution near its target: give "
                "both, or start='uniform'"
            )
        if self.start == "prior" and self.targets is None:
            raise ConfigError(
                "start='prior' needs targets, since it puts each distribution near promising networks of its target: "
                "give targets, or start='uniform'"
            )
        if self.start != "prior" and self.start_architectures is not None:
            raise ConfigError(
                f"start_architectures are for start='prior' alone, got start={self.start!r}: leave one of the two out"
            )

    def _fill_in(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _checked_samples(self) -> int:
        """N, a multiple of K."""
        if self.samples_per_update is None:
            return self.default_strata * self.size
        if self.samples_per_update < 1 or self.samples_per_update % self.size:
            above = self.size * (max(self.samples_per_update, 0) // self.size + 1)
            raise ConfigError(
                f"samples_per_update must be a positive multiple of the number of distributions, {self.size}, "
                f"got {self.samples_per_update}; use {above}"
            )
        return self.samples_per_update

    def check_goals(self) -> None:
        """Check that the goals of the distributions are known.

        Raises:
            ConfigError: The coefficients are not set yet.
        """
        if self.coefficients is None and self.targets is None:
            raise ConfigError("coefficients must be known before results are told: call set_coefficients first")

    @property
    def size(self) -> int:
        """K; unlike `num_distributions` it is never None."""
        assert self.num_distributions is not None
        return self.num_distributions

    @property
    def update_size(self) -> int:
        """N; unlike `samples_per_update` it is never None."""
        assert self.samples_per_update is not None
        return self.samples_per_update

    @property
    def layout(self) -> CategoryLayout:
        """The variables' categories at the start."""
        return CategoryLayout.of(self.num_categories, self.num_values, self.conditions, self.prior)

    @property
    def promising(self) -> Architectures:
        """Of each distribution the architectures near which it starts, the best first.

        Raises:
            ConfigError: They are not given.
        """
        if self.start_architectures is None:
            raise ConfigError(
                "start='prior' needs start_architectures before the optimiser is made: a one-shot search finds them "
                "when it starts; elsewhere give them"
            )
        return cast("Architectures", self.start_architectures)

    @property
    def costs_DC(self) -> FloatArray | None:
        """(D, C) the cost table as an array."""
        return None if self.cost_table is None else np.array(self.cost_table, dtype=np.float64)

    def scores(self, losses_N: FloatArray, complexities_N: FloatArray) -> FloatArray:
        """(K, N) what each distribution minimises; +inf (ranks worst) where the loss is not finite."""
        if self.targets is not None:
            return targeted_losses(losses_N, complexities_N, self.targets, self.target_weight)
        assert self.coefficients is not None
        return scalarised_losses(losses_N, complexities_N, np.array(self.coefficients))

    def fields(self) -> dict[str, Any]:
        """All settings by name, as arguments from which equal settings can be made."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description, from which `settings_from_dict` makes equal settings."""
        return {"kind": self.kind, **{name: _listed(value) for name, value in self.fields().items()}}

    def identity(self) -> dict[str, Any]:
        """The settings that a saved state must share with the optimiser that loads it: all but those of reports.

        The cost table is for reports alone, unless the start follows from it.
        """
        left_out = () if self.start == "targets" else ("cost_table", "base_cost")
        optional = ("start_architectures", "num_values", "conditions", "prior")
        left_out = (*left_out, *(name for name in optional if getattr(self, name) is None))
        return {name: value for name, value in self.to_dict().items() if name not in left_out}


def register_optimizer(settings: SettingsClass) -> SettingsClass:
    """Register a kind of optimiser under its settings' `kind`; use it as a decorator of the settings' class.

    A search then takes the optimiser by this name (`optimizer=` of `OneShotSearchConfig` and of `MultiNASSearch`).

    Returns:
        The class, unchanged.

    Raises:
        ConfigError: Another kind has the name already.
    """
    _kinds.add(settings.kind, settings)
    return settings


@checked_arguments
def optimizer_kind(name: str) -> type[OptimizerSettings]:
    """Returns the settings' class of a kind of optimiser.

    Raises:
        ConfigError: No kind of this name is registered.
    """
    return _kinds.find(name)


@checked_arguments
def settings_of_kind(name: str, options: Mapping[str, Any], **shared: Any) -> OptimizerSettings:
    """Returns the settings of a kind of optimiser.

    Args:
        name: of the kind.
        options: settings that only this kind has, by name, as a user gives them.
        **shared: the settings of every kind.

    Raises:
        ConfigError: No kind of this name is registered, an option is one of `shared`, or a setting breaks its rule.
    """
    if twice := sorted(shared.keys() & options.keys()):
        raise ConfigError(
            f"optimizer_options must be settings that only the optimiser has, got {', '.join(twice)}: set them as "
            "settings of the search"
        )
    return optimizer_kind(name)(**shared, **options)


@checked_arguments
def settings_from_dict(description: Mapping[str, Any]) -> OptimizerSettings:
    """Returns the settings that `OptimizerSettings.to_dict` described.

    Raises:
        ConfigError: No kind of its name is registered, or a setting breaks its rule.
    """
    fields = dict(description)
    return optimizer_kind(fields.pop("kind", ""))(**fields)


@checked_arguments
def make_optimizer(settings: OptimizerSettings, *, seed: int | Sequence[int] | None) -> Optimizer:
    """Returns the optimiser of these settings at its start.

    Args:
        settings: of any registered kind.
        seed: of the draws; a whole number, a sequence of them, or None for one from the operating system.

    Raises:
        ConfigError: The seed breaks its rule.
    """
    return settings.make(seed)


def _check_rising(name: str, values: Sequence[float]) -> None:
    for k, (low, high) in enumerate(itertools.pairwise(values), start=1):
        if not low < high:
            raise ConfigError(
                f"{name} must be strictly increasing, got {low:.10g} then {high:.10g} at {k}; sort them and drop "
                "repeats"
            )


def _checked_costs(cost_table: npt.ArrayLike, layout: CategoryLayout) -> CostTable:
    """The (D, C) costs with zeros in the padding."""
    valid_DC = layout.valid_DC
    try:
        table = np.array(cost_table, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"cost_table must be numbers in rows of equal length; pad short rows with 0 ({error})"
        ) from error
    if table.ndim != 2 or len(table) != len(valid_DC) or table.shape[1] < valid_DC.shape[1]:
        raise ConfigError(
            f"cost_table must have shape (D, C) = {valid_DC.shape}, a row per variable, padded to the widest, "
            f"got {table.shape}"
        )
    costs_DC = np.where(valid_DC, table[:, : valid_DC.shape[1]], 0.0)
    if not np.isfinite(costs_DC).all():
        d, c = np.argwhere(~np.isfinite(costs_DC))[0]
        raise ConfigError(f"cost_table[{d}, {c}] must be finite, got {costs_DC[d, c]}")
    if costs_DC[list(layout.ordered)].any():
        raise ConfigError("cost_table must be 0 for variables with cells: leave it out where they cost something")
    return tuple(tuple(row) for row in costs_DC.tolist())


def _listed(value: Any) -> Any:
    """Replace tuples by lists, as reading JSON does."""
    return [_listed(each) for each in value] if isinstance(value, tuple) else value
