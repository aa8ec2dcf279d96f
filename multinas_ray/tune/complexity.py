"""The complexity of a configuration, which is taken from its result or computed beforehand.

Notation: D variables, C categories (padded), N architectures.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from multinas_ray.errors import FAILURES, ConfigError
from multinas_ray.runs import Choice, ConfigSpace, evaluations_schema
from multinas_ray.spaces import AdditiveCost

logger = logging.getLogger(__name__)

Measure = str | Callable[[dict[str, Any]], float]
"""A key of the result, or a function of the configuration."""

MAX_ENUMERATED = 10_000
"""Largest space whose most complex architecture is found by computing all of them [ours]."""

NUM_CHECKED = 256
"""Random architectures on which a complexity must be the sum of its parts to count as additive [ours]."""

RTOL = 1e-9
"""Relative tolerance of that check [ours]."""


@dataclass(frozen=True)
class Complexities:
    """What is recorded of each evaluation besides its loss: first the costs that the search weighs."""

    measures: Mapping[str, Measure]
    """Column of the record -> source of its values."""
    names: Mapping[str, str]
    """Column -> name of the costs of the search, which are the first of the measures."""

    @classmethod
    def of(cls, complexity: object, recorded: object) -> Complexities:
        """Make them from what the caller gave.

        Args:
            complexity: a key of the result or a function; or several: keys, or a mapping of names to such.
            recorded: further complexities: a sequence of keys, or a mapping of names to keys and functions.

        Raises:
            ConfigError: One is neither a key nor a function, or two have the same column.
        """
        measures: dict[str, Measure] = {}
        costs = _costs(complexity)
        further = recorded if isinstance(recorded, Mapping) else _by_key(recorded, "recorded_complexities")
        for name, measure in [*costs.items(), *further.items()]:
            if not (isinstance(measure, str) or callable(measure)) or not isinstance(name, str) or not name:
                raise ConfigError(
                    f"a complexity must be a key of the result or a function config -> float, got {measure!r} for "
                    f"{name!r}"
                )
            column = _column_name(name)
            if column in measures:
                raise ConfigError(f"each complexity must have its own column, two have {column}: rename {name!r}")
            measures[column] = measure
        names = ["complexity"] if callable(complexity) else list(costs)
        return cls(measures, dict(zip(measures, names, strict=False)))

    @property
    def costs(self) -> dict[str, Measure]:
        """Column -> source of the costs of the search. Its complexity is the largest of costs / scales."""
        return {column: self.measures[column] for column in self.names}

    @cached_property
    def has_functions(self) -> bool:
        """Whether any is computed from the configuration."""
        return any(callable(measure) for measure in self.measures.values())

    def of_outside(self, config: dict[str, Any], given: Mapping[str, float] | float | None) -> dict[str, float | None]:
        """The costs of a result from outside; None for what is not known.

        Args:
            config: the configuration.
            given: the values that are keys of the result, by name; a single one without its name.

        Raises:
            ConfigError: A function raises, or a value is not a finite number of at least 0.
        """
        values: dict[str, float | None] = {}
        for column, measure in self.costs.items():
            if not isinstance(measure, str):
                values[column] = checked_value(measure, config)
                continue
            named = given if isinstance(given, Mapping) else {measure: given} if len(self.names) == 1 else {}
            value = named.get(measure)
            if value is not None and not (np.isfinite(value) and value >= 0):
                raise ConfigError(
                    f"complexities of results must be finite numbers of at least 0, got {value} for {config}"
                )
            values[column] = None if value is None else float(value)
        return values

    def of_config(self, config: dict[str, Any]) -> dict[str, float | None]:
        """The values that are computed from the configuration; None for the others."""
        return {
            column: None if isinstance(measure, str) else float(measure(config))
            for column, measure in self.measures.items()
        }

    def of_result(self, config: dict[str, Any], result: Mapping[str, Any]) -> dict[str, float | None]:
        """All values of an evaluation; None if a key is missing."""
        return {
            column: as_number(result.get(measure)) if isinstance(measure, str) else float(measure(config))
            for column, measure in self.measures.items()
        }


@dataclass(frozen=True)
class Probe:
    """What is known about a cost before the first evaluation."""

    scale: float | None
    """The largest cost of the space, which will count as 1; None if unknown."""
    cost: AdditiveCost | None
    """The cost in its own unit, if it is a sum over the choices."""


def probe(measure: Measure, space: ConfigSpace, rng: np.random.Generator) -> Probe:
    """Find out what a function tells about a cost of the space, before the first evaluation.

    Args:
        measure: the cost, which is probed if it is a function.
        space: the configurations.
        rng: generator of the architectures on which additivity is checked.

    Raises:
        ConfigError: The function raises, or it returns something other than a finite number of at least 0.
    """
    if isinstance(measure, str):
        return Probe(None, None)

    def value(architecture: Sequence[int]) -> float:
        return checked_value(measure, space.decode(architecture, space.draw(architecture)))

    cost = _additive_cost(value, space, rng)
    if cost is not None:
        return Probe(cost.maximum or 1.0, cost)
    if not space.is_listed or space.num_architectures > MAX_ENUMERATED:
        return Probe(None, None)
    logger.info("Computing the complexity of all %d configurations.", space.num_architectures)
    return Probe(max(value(row) for row in space.enumerate()) or 1.0, None)


def checked_value(measure: Callable[[dict[str, Any]], float], config: dict[str, Any]) -> float:
    """The complexity of a configuration, computed by the caller's function.

    Raises:
        ConfigError: The function raises, or it returns something other than a finite number of at least 0.
    """
    try:
        value = float(measure(config))
    except FAILURES as error:  # the function is the user's and may raise anything
        raise ConfigError(f"complexity must take every configuration, it raised {error!r} for {config}") from error
    if not (math.isfinite(value) and value >= 0.0):
        raise ConfigError(f"complexity must return a finite number of at least 0, got {value} for {config}")
    return value


def _additive_cost(
    value: Callable[[Sequence[int]], float], space: ConfigSpace, rng: np.random.Generator
) -> AdditiveCost | None:
    """A cost table from differences of one variable at a time; None if it does not fit random architectures.

    A number must cost nothing, and all variables must always be active.
    """
    if any(space.conditions):
        return None
    counts = [each.num_categories if isinstance(each, Choice) else 1 for each in space.variables]
    origin = [0] * len(counts)
    base = value(origin)
    rows = [
        [0.0] + [value([*origin[:d], c, *origin[d + 1 :]]) - base for c in range(1, count)]
        for d, count in enumerate(counts)
    ]
    widths = [each.num_categories for each in space.variables]
    padded = [row + [0.0] * (width - len(row)) for row, width in zip(rows, widths, strict=True)]
    cost = AdditiveCost.from_rows("complexity", padded, base)
    drawn_ND = space.random(NUM_CHECKED, rng)
    values_N = np.array([value(row.tolist()) for row in drawn_ND])
    is_sum = np.allclose(cost(space.layout.categories_of(drawn_ND)), values_N, rtol=RTOL, atol=0.0)
    return cost if is_sum else None


def _costs(complexity: Any) -> Mapping[str, Any]:
    if callable(complexity):
        return {"raw_complexity": complexity}
    if isinstance(complexity, str):
        return {complexity: complexity}
    if not isinstance(complexity, Mapping | Sequence) or not complexity:
        raise ConfigError(
            f"complexity must be a key of the result or a function config -> float, or several, got {complexity!r}"
        )
    return complexity if isinstance(complexity, Mapping) else _by_key(complexity, "complexity")


def _by_key(given: object, name: str) -> dict[str, Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ConfigError(f"{name} must be a sequence of keys or a dict, got {given!r}")
    return {key: key for key in given}


def _column_name(name: str) -> str:
    column = re.sub(r"[^a-z0-9_]", "_", name.lower())
    taken = set(evaluations_schema((), has_numbers=True).names)
    return column if column[0].isalpha() and column not in taken else f"raw_{column}"


def as_number(value: Any) -> float | None:
    """A value of a result as a number; None if it is none."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
