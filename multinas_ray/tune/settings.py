"""The settings of a MultiNASSearch, checked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cached_property
from typing import Annotated, Any, TypeAlias

from annotated_types import Ge, MinLen

from multinas_ray.core import OptimizerSettings, optimizer_kind, settings_of_kind
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.settings import Unchecked, checked, to_plain
from multinas_ray.spaces import AdditiveCost
from multinas_ray.tune.complexity import Complexities

DEFAULT_NUM_DISTRIBUTIONS = 8
"""K if neither coefficients nor targets nor a number are given."""

A_FUNCTION = "a function"
"""Takes the place of a complexity that is a function in the recorded settings."""

Targets: TypeAlias = Annotated[tuple[Annotated[float, Ge(0)], ...], MinLen(1)]
"""Upper bounds of one cost."""


@checked
@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Settings of one search; see `MultiNASSearch` for their meaning. Settings that are None are filled in.

    Raises:
        ConfigError: A setting breaks its rule, or two exclude each other.
    """

    complexity: Annotated[object, Unchecked()]
    recorded_complexities: Annotated[object, Unchecked()] = ()
    coefficients: Annotated[tuple[float, ...], MinLen(1)] | None = None
    targets: Targets | Annotated[Mapping[str, Targets], MinLen(1)] | None = None
    num_distributions: Annotated[int, Ge(1)] | None = None
    samples_per_update: int | None = None
    memory: Annotated[int, Ge(0)] | None = None
    margin_scale: float = 0.5
    reuse_results: bool = False
    optimizer: str = "distributions"
    optimizer_options: Mapping[str, Any] = field(default_factory=dict)
    seed: Annotated[int, Ge(0)]

    def __post_init__(self) -> None:
        self._check_goals()
        _ = self.complexities
        kind = optimizer_kind(self.optimizer)
        uses_fixed_losses = self.reuse_results or kind.needs_fixed_losses
        filled_in = {
            "num_distributions": self._count_distributions(),
            "memory": kind.memory_for_fixed_losses if uses_fixed_losses else 0,
        }
        for name, value in filled_in.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        checked_by_optimizer = self.optimizer_settings({"num_categories": (1,)})
        object.__setattr__(self, "samples_per_update", checked_by_optimizer.update_size)

    def _check_goals(self) -> None:
        names = ("coefficients", "targets", "num_distributions")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ConfigError(
                f"a search must have at most one of coefficients, targets and num_distributions, got {given}: keep one"
            )
        if isinstance(self.targets, Mapping):
            self._check_targets(self.targets)
        elif any(low >= high for low, high in itertools.pairwise(self.targets or ())):
            raise ConfigError(f"targets must be in increasing order, got {list(self.targets or ())}: sort them")
        elif self.targets is not None and len(self.complexities.names) > 1:
            raise ConfigError(
                "targets must name their cost where there are several, got a list: give a dict, such as "
                f"{{{next(iter(self.complexities.names.values()))!r}: {list(self.targets)}}}"
            )

    def _check_targets(self, targets: Mapping[str, tuple[float, ...]]) -> None:
        names = list(self.complexities.names.values())
        unknown = [name for name in targets if name not in names]
        if unknown:
            raise ConfigError(f"targets must be of the costs of the search, {unknown[0]!r} is none: use {names}")
        if len({len(limits) for limits in targets.values()}) > 1:
            counts = {name: len(limits) for name, limits in targets.items()}
            raise ConfigError(
                f"targets must have one number of each cost for each answer, got {counts}: add the missing"
            )
        for name, limits in targets.items():
            if any(low > high for low, high in itertools.pairwise(limits)):
                raise ConfigError(f"targets of {name} must not fall, got {list(limits)}: sort them")

    def largest_target(self, column: str) -> float | None:
        """The largest target of a cost, where targets name their costs; None if it has none."""
        name = self.complexities.names[column]
        limits = self.targets.get(name) if isinstance(self.targets, Mapping) else None
        return None if limits is None else max(limits)

    def _count_distributions(self) -> int:
        """K: the number of coefficients; for targets, which choose among the evaluations of all, not too few."""
        if self.coefficients is not None:
            return len(self.coefficients)
        targets = self.targets or ()
        num_targets = len(next(iter(targets.values()))) if isinstance(targets, Mapping) else len(targets)
        return max(DEFAULT_NUM_DISTRIBUTIONS, num_targets)

    @cached_property
    def complexities(self) -> Complexities:
        """The complexities of each evaluation."""
        return Complexities.of(self.complexity, self.recorded_complexities)

    @property
    def size(self) -> int:
        """K; unlike `num_distributions` it is never None."""
        assert self.num_distributions is not None
        return self.num_distributions

    @cached_property
    def skips_known(self) -> bool:
        """Whether a known configuration is never run again."""
        return self.reuse_results or optimizer_kind(self.optimizer).needs_fixed_losses

    def identity(self) -> dict[str, Any]:
        """The settings that a resumed search must share with its start, as plain data."""
        measures = self.complexities.measures.items()
        names = dict(self.complexities.names)
        return {
            **({"costs": names} if len(names) > 1 else {}),
            "complexities": {name: each if isinstance(each, str) else A_FUNCTION for name, each in measures},
            "coefficients": None if self.coefficients is None else list(self.coefficients),
            "targets": to_plain(self.targets),
            "num_distributions": self.num_distributions,
            "samples_per_update": self.samples_per_update,
            "memory": self.memory,
            "margin_scale": self.margin_scale,
            "reuse_results": self.reuse_results,
            "optimizer": self.optimizer,
            "optimizer_options": to_plain(self.optimizer_options),
        }

    def optimizer_settings(
        self, variables: Mapping[str, Any], cost: AdditiveCost | None = None, scale: float | None = None
    ) -> OptimizerSettings:
        """Settings of the optimiser, without coefficients if these are chosen from the first results.

        Args:
            variables: the settings that describe the variables, see `ConfigSpace.for_optimizer`.
            cost: the complexity in its own unit, if it is a sum over the choices.
            scale: the complexity that counts as 1, if it is known.
        """
        parts: dict[str, Any] = {}
        if cost is not None and scale is not None:
            parts = {"cost_table": cost.table / scale, "base_cost": cost.base / scale}
        return settings_of_kind(
            self.optimizer,
            self.optimizer_options,
            **variables,
            coefficients=self.coefficients,
            num_distributions=self.num_distributions,
            samples_per_update=self.samples_per_update,
            memory=self.memory or 0,
            margin_scale=self.margin_scale,
            **parts,
        )


GOALS = ("coefficients", "targets", "num_distributions")
"""At most one of these arguments is given."""


def resumed_settings(given: Mapping[str, Any], config: Mapping[str, Any], path: str) -> SearchSettings:
    """The settings of a recorded search, which has its own wherever the caller gave none.

    Targets may be others than at the start, as long as K stays: the distributions do not depend on them.

    Args:
        given: the arguments of the constructor.
        config: the configuration in the record.
        path: the record.

    Raises:
        StateError: Settings were given that the recorded search does not have.
    """
    recorded, first = config["settings"], SearchSettings(**given)
    chosen = {each.name for each in fields(SearchSettings) if given.get(each.name) != _default(each)}
    arguments = {**given, "seed": config["seed"]}
    has_goal = any(name in chosen for name in GOALS)
    if not has_goal or first.num_distributions == recorded["num_distributions"]:
        arguments |= {name: recorded[name] for name in recorded if name in given and name not in {*chosen, *GOALS}}
    if not has_goal:
        arguments |= {name: recorded[name] for name in _recorded_goal(recorded)}
    if "recorded_complexities" not in chosen:
        further = list(recorded["complexities"].items())[len(recorded.get("costs", ("one",))) :]
        arguments["recorded_complexities"] = {name: key for name, key in further if key != A_FUNCTION}
    settings = SearchSettings(**arguments)
    now = settings.identity()
    different = [name for name in now if name != "targets" and recorded.get(name) != now[name]]
    if different:
        raise StateError(
            f"a resumed search must have its own settings, those of {path} differ: "
            + ", ".join(f"{name} was {recorded.get(name)!r}, is {now[name]!r}" for name in different)
            + "; what it has drawn and learned depends on them. Give those of the start or leave them out, or begin a "
            "new search and give it the trials by add_evaluated_trials"
        )
    return settings


def _recorded_goal(recorded: Mapping[str, Any]) -> list[str]:
    return [name for name in GOALS if recorded[name] is not None][:1]


def _default(each: Field[Any]) -> Any:
    if each.default_factory is not MISSING:
        return each.default_factory()
    return None if each.default is MISSING else each.default
