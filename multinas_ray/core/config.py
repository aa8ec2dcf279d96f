"""The settings of the optimiser, checked.

Notation: K distributions, D variables, C_d categories of variable d.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import FloatArray
from multinas_ray.core.asng import ASNGSettings
from multinas_ray.core.distributions import CategoryLayout
from multinas_ray.core.margin import margin_floors
from multinas_ray.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Everything that decides how results move the distributions. Built by `checked_config`."""

    num_categories: tuple[int, ...]
    """C_d of each variable, at least 1."""
    coefficients: tuple[float, ...] | None
    """eps_k, finite, not negative, strictly increasing; None: the search has targets."""
    samples_per_update: int
    """N, a positive multiple of K."""
    memory: int
    """How many earlier updates' samples each update uses again; 0 is off."""
    delta_init: float
    """Initial step size, positive."""
    alpha: float
    """ASNG's signal-to-noise threshold, positive."""
    delta_max: float
    """Upper bound of the step divisor Delta, at least 1; may be infinite."""
    margin_scale: float
    """Factor on the margin's floor, positive."""
    targets: tuple[float, ...] | None
    """T_k, wanted complexities, positive, strictly increasing; None: the search has coefficients."""
    target_weight: float
    """Of the distance from a target, positive."""

    def __post_init__(self) -> None:
        _check_categories(self.num_categories)
        if (self.coefficients is None) == (self.targets is None):
            raise ConfigError("a search has either coefficients or targets; give one of the two")
        if self.coefficients is not None:
            _check_coefficients(self.coefficients)
        if self.targets is not None:
            _check_targets(self.targets)
        _check_samples_per_update(self.samples_per_update, self.num_distributions)
        if self.memory < 0:
            raise ConfigError(f"memory must be 0 (off) or a number of updates, got {self.memory}")
        for name in ("delta_init", "alpha", "margin_scale", "target_weight"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0.0):
                raise ConfigError(f"{name} must be positive and finite, got {value}; its default is a good start")
        if not self.delta_max >= 1.0:
            raise ConfigError(f"delta_max must be at least 1, got {self.delta_max}; use inf for no bound")

    @property
    def num_distributions(self) -> int:
        """K."""
        return len(self.coefficients or self.targets or ())

    def asng_settings(self, layout: CategoryLayout) -> ASNGSettings:
        """Returns the constants of the ASNG step."""
        return ASNGSettings(
            delta_init=self.delta_init,
            alpha=self.alpha,
            delta_max=self.delta_max,
            floor_D=margin_floors(layout, self.margin_scale),
            layout=layout,
        )


def checked_config(
    *,
    num_categories: Iterable[int],
    coefficients: Iterable[float] | None,
    samples_per_update: int | None,
    memory: int,
    delta_init: float,
    alpha: float,
    delta_max: float,
    margin_scale: float,
    targets: Iterable[float] | None,
    target_weight: float,
) -> OptimizerConfig:
    """Turns a caller's values into plain numbers and checks them.

    Raises:
        ConfigError: A value is not a number of the right kind or breaks its rule.
    """
    epsilons, wanted = _reals(coefficients, "coefficients"), _reals(targets, "targets")
    default = 2 * len(epsilons or wanted or ())
    return OptimizerConfig(
        num_categories=tuple(
            _whole(value, f"num_categories[{d}]") for d, value in _numbered(num_categories, "num_categories")
        ),
        coefficients=epsilons,
        samples_per_update=default if samples_per_update is None else _whole(samples_per_update, "samples_per_update"),
        memory=_whole(memory, "memory"),
        delta_init=_real(delta_init, "delta_init"),
        alpha=_real(alpha, "alpha"),
        delta_max=_real(delta_max, "delta_max"),
        margin_scale=_real(margin_scale, "margin_scale"),
        targets=wanted,
        target_weight=_real(target_weight, "target_weight"),
    )


def checked_cost_table(cost_table: npt.ArrayLike, layout: CategoryLayout) -> FloatArray:
    """Returns the (D, C) costs with zeros in the padding.

    Raises:
        ConfigError: The shape does not fit or the cost of a category is not finite.
    """
    num_variables, num_columns = layout.valid_DC.shape
    try:
        table = np.array(cost_table, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"cost_table must be numbers in rows of equal length, pad short rows with 0: {error}"
        ) from error
    if table.ndim != 2 or len(table) != num_variables or table.shape[1] < num_columns:
        raise ConfigError(
            f"cost_table must have shape (D, C) = ({num_variables}, {num_columns}), a row per variable, "
            f"padded to the widest, got {table.shape}"
        )
    costs_DC = np.where(layout.valid_DC, table[:, :num_columns], 0.0)
    if not np.isfinite(costs_DC).all():
        d, c = np.argwhere(~np.isfinite(costs_DC))[0]
        raise ConfigError(f"cost_table[{d}, {c}] must be finite, got {costs_DC[d, c]}")
    return costs_DC


def checked_base_cost(base_cost: float) -> float:
    """Returns the constant part of an additive complexity.

    Raises:
        ConfigError: It is not finite.
    """
    value = _real(base_cost, "base_cost")
    if not math.isfinite(value):
        raise ConfigError(f"base_cost must be finite, got {value}")
    return value


def new_generator(seed: int | Sequence[int] | None) -> np.random.Generator:
    """Returns a PCG64 generator of `seed` (None: from the operating system).

    Raises:
        ConfigError: A seed is not a whole number or is negative.
    """
    if seed is None:
        return np.random.Generator(np.random.PCG64())
    values = seed if isinstance(seed, Iterable) else [seed]
    whole = [_whole(value, "seed") for value in values]
    if not whole or min(whole) < 0:
        raise ConfigError(f"seed must be a whole number from 0, or a sequence of them, got {seed!r}")
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(whole)))


def _check_categories(num_categories: tuple[int, ...]) -> None:
    if not num_categories:
        raise ConfigError("num_categories must name at least one variable, got none")
    for d, count in enumerate(num_categories):
        if count < 1:
            raise ConfigError(f"num_categories[{d}] must be at least 1, got {count}; leave out an empty variable")


def _check_targets(targets: tuple[float, ...]) -> None:
    if not targets:
        raise ConfigError("targets must hold at least one number, one per distribution, got none")
    for k, value in enumerate(targets):
        if not (math.isfinite(value) and value > 0.0):
            raise ConfigError(f"targets[{k}] must be positive and finite, got {value}")
        if k and not targets[k - 1] < value:
            raise ConfigError(
                f"targets must be strictly increasing, got {targets[k - 1]} then {value}; sort them and drop repeats"
            )


def _check_coefficients(coefficients: tuple[float, ...]) -> None:
    if not coefficients:
        raise ConfigError("coefficients must hold at least one number, one per distribution, got none")
    for k, value in enumerate(coefficients):
        if not (math.isfinite(value) and value >= 0.0):
            raise ConfigError(f"coefficients[{k}] must be finite and not negative, got {value}")
    for k in range(1, len(coefficients)):
        if not coefficients[k - 1] < coefficients[k]:
            raise ConfigError(
                f"coefficients must be strictly increasing, got {coefficients[k - 1]} then {coefficients[k]} "
                f"at {k}; sort them and drop repeats"
            )


def _check_samples_per_update(samples: int, num_distributions: int) -> None:
    if samples < 1 or samples % num_distributions:
        above = num_distributions * (max(samples, 0) // num_distributions + 1)
        raise ConfigError(
            f"samples_per_update must be a positive multiple of the number of distributions, "
            f"{num_distributions}, got {samples}; use {above}"
        )


def _numbered(values: object, name: str) -> Iterable[tuple[int, object]]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ConfigError(f"{name} must be a sequence of numbers, got {values!r}")
    return enumerate(values)


def _reals(values: Iterable[float] | None, name: str) -> tuple[float, ...] | None:
    if values is None:
        return None
    return tuple(_real(value, f"{name}[{k}]") for k, value in _numbered(values, name))


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{name} must be a whole number, got {value!r}")
    return int(value)


def _real(value: object, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"{name} must be a number, got {value!r}")
    return float(value)
