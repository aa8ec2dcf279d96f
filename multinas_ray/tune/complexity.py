"""The complexity of a configuration, which is taken from its result or computed beforehand.

Notation: D variables, C categories (padded), N architectures.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multinas_ray.errors import ConfigError
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
    """The complexities that are recorded of each evaluation; the first is the complexity of the search."""

    measures: Mapping[str, Measure]
    """Column of the record -> source of its values."""

    @classmethod
    def of(cls, complexity: object, recorded: object) -> Complexities:
        """Make them from what the caller gave.

        Args:
            complexity: a key of the result or a function.
            recorded: further complexities: a sequence of keys, or a mapping of names to keys and functions.

        Raises:
            ConfigError: One is neither a key nor a function, or two have the same column.
        """
        measures: dict[str, Measure] = {}
        further = recorded if isinstance(recorded, Mapping) else _by_key(recorded)
        named = [("raw_complexity" if callable(complexity) else complexity, complexity), *further.items()]
        for name, measure in named:
            if not (isinstance(measure, str) or callable(measure)) or not isinstance(name, str) or not name:
                raise ConfigError(
                    f"a complexity must be a key of the result or a function config -> float, got {measure!r} for "
                    f"{name!r}"
                )
            column = _column_name(name)
            if column in measures:
                raise ConfigError(f"each complexity must have its own column, two have {column}: rename {name!r}")
            measures[column] = measure
        return cls(measures)

    @property
    def column(self) -> str:
        """Column of the complexity of the search."""
        return next(iter(self.measures))

    @property
    def measure(self) -> Measure:
        """Source of the complexity of the search."""
        return self.measures[self.column]

    @property
    def label(self) -> str:
        """Name of the complexity of the search, for reports."""
        return self.measure if isinstance(self.measure, str) else "complexity"

    def of_config(self, config: dict[str, Any]) -> dict[str, float | None]:
        """The values that are computed from the configuration; None for the others."""
        return {
            column: None if isinstance(measure, str) else float(measure(config))
            for column, measure in self.measures.items()
        }

    def of_result(self, config: dict[str, Any], result: Mapping[str, Any]) -> dict[str, float | None]:
        """All values of an evaluation; None if a key is missing."""
        return {
            column: _number(result.get(measure)) if isinstance(measure, str) else float(measure(config))
            for column, measure in self.measures.items()
        }


@dataclass(frozen=True)
class Probe:
    """What is known about the complexity before the first evaluation."""

    scale: float | None
    """The largest complexity of the space, which will count as 1; None if unknown."""
    cost: AdditiveCost | None
    """The complexity in its own unit, if it is a sum over the choices."""


def probe(complexities: Complexities, space: ConfigSpace, rng: np.random.Generator) -> Probe:
    """Find out what a function tells about the complexity of the space, before the first evaluation.

    Args:
        complexities: the complexities, of which that of the search is probed if it is a function.
        space: the configurations.
        rng: generator of the architectures on which additivity is checked.

    Raises:
        ConfigError: The function raises, or it returns something other than a finite number of at least 0.
    """
    measure = complexities.measure
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
    except Exception as error:  # the function is the user's and may raise anything
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


def _by_key(recorded: object) -> dict[str, Any]:
    if isinstance(recorded, str) or not isinstance(recorded, Sequence):
        raise ConfigError(f"recorded_complexities must be a sequence of keys or a dict, got {recorded!r}")
    return {key: key for key in recorded}


def _column_name(name: str) -> str:
    column = re.sub(r"[^a-z0-9_]", "_", name.lower())
    taken = set(evaluations_schema((), has_numbers=True).names)
    return column if column[0].isalpha() and column not in taken else f"raw_{column}"


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
