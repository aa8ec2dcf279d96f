"""What a MultiNASSearch is told to do, checked."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from multinas_ray.core import MultiDistributionOptimizer, ScreenedOptimizer, make_optimizer
from multinas_ray.errors import ConfigError
from multinas_ray.tune.complexity import Complexities

Optimizer: TypeAlias = MultiDistributionOptimizer | ScreenedOptimizer

DEFAULT_NUM_DISTRIBUTIONS = 8
"""K where neither coefficients nor targets nor a number are given."""

MEMORY_FOR_FIXED_LOSSES = 4
"""Default of `memory` with reuse_results (docs/experiments.md). 0 otherwise: losses may age, and screened
updates draw afresh."""


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Settings of one search; see `MultiNASSearch` for their meaning.

    Raises:
        ConfigError: a setting breaks a rule.
    """

    complexities: Complexities
    coefficients: tuple[float, ...] | None
    targets: tuple[float, ...] | None
    num_distributions: int
    samples_per_update: int
    memory: int
    margin_scale: float
    reuse_results: bool
    screened: bool
    seed: int

    @property
    def skips_known(self) -> bool:
        """Whether a known configuration is never run again."""
        return self.reuse_results or self.screened

    def identity(self) -> dict[str, Any]:
        """What a resumed search must share with its start, as plain data."""
        measures = self.complexities.measures.items()
        return {
            "complexities": {name: each if isinstance(each, str) else "a function" for name, each in measures},
            "coefficients": None if self.coefficients is None else list(self.coefficients),
            "targets": None if self.targets is None else list(self.targets),
            "num_distributions": self.num_distributions,
            "samples_per_update": self.samples_per_update,
            "memory": self.memory,
            "margin_scale": self.margin_scale,
            "reuse_results": self.reuse_results,
            "screened": self.screened,
        }

    def optimizer_arguments(
        self, num_categories: Sequence[int], coefficients: Sequence[float] | None, cost: Any, scale: float | None
    ) -> dict[str, Any]:
        """Arguments of the optimiser but its seed, as plain data; `coefficients` None until they are known."""
        arguments: dict[str, Any] = {
            "num_categories": list(num_categories),
            "coefficients": None if coefficients is None else list(coefficients),
            "samples_per_update": self.samples_per_update,
            "memory": self.memory,
            "margin_scale": self.margin_scale,
        }
        if cost is not None and scale is not None:
            arguments |= {"cost_table": (cost.table / scale).tolist(), "base_cost": cost.base / scale}
        return arguments | ({"screened": True} if self.screened else {})


def build_optimizer(arguments: dict[str, Any], seed: int) -> Optimizer:
    """The optimiser of recorded arguments, at its start."""
    return make_optimizer(**arguments, seed=seed)


def checked_settings(
    *,
    complexity: object,
    recorded_complexities: object,
    coefficients: Sequence[float] | None,
    targets: Sequence[float] | None,
    num_distributions: int | None,
    samples_per_update: int | None,
    memory: int | None,
    margin_scale: float,
    reuse_results: bool,
    screened: bool,
    seed: int,
) -> SearchSettings:
    """Fill the defaults in and check.

    Raises:
        ConfigError: a setting breaks a rule, or two exclude each other.
    """
    number = _number_of_distributions(coefficients, targets, num_distributions)
    if memory is None:
        memory = MEMORY_FOR_FIXED_LOSSES if reuse_results and not screened else 0
    default_samples = number if screened else 2 * number
    settings = SearchSettings(
        complexities=Complexities.of(complexity, recorded_complexities),
        coefficients=None if coefficients is None else tuple(map(float, coefficients)),
        targets=None if targets is None else tuple(map(float, targets)),
        num_distributions=number,
        samples_per_update=default_samples if samples_per_update is None else samples_per_update,
        memory=memory,
        margin_scale=margin_scale,
        reuse_results=reuse_results,
        screened=screened,
        seed=seed,
    )
    stand_ins = [float(k) for k in range(number)] if settings.coefficients is None else settings.coefficients
    build_optimizer(settings.optimizer_arguments([1], stand_ins, None, None), seed)  # checks what the optimiser checks
    return settings


SETTINGS = tuple(inspect.signature(checked_settings).parameters)
"""Names of the arguments that settings are made of."""


def _number_of_distributions(
    coefficients: Sequence[float] | None, targets: Sequence[float] | None, num_distributions: int | None
) -> int:
    """K, from the one of the three that is given."""
    goals = {"coefficients": coefficients, "targets": targets, "num_distributions": num_distributions}
    given = [name for name, value in goals.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"a search takes one of coefficients, targets and num_distributions, got {given}; keep one")
    if coefficients is not None:
        return len(coefficients)
    if targets is not None:
        _check_targets(targets)
        return max(DEFAULT_NUM_DISTRIBUTIONS, len(targets))
    number = DEFAULT_NUM_DISTRIBUTIONS if num_distributions is None else num_distributions
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigError(f"num_distributions must be a whole number from 1, got {number!r}")
    return number


def _check_targets(targets: Sequence[float]) -> None:
    values = list(targets)
    is_increasing = all(low < high for low, high in itertools.pairwise(values))
    if not values or not is_increasing or not all(math.isfinite(value) and value >= 0 for value in values):
        raise ConfigError(f"targets must be finite complexities from 0 in increasing order, got {values}; sort them")
