"""Translating a Tune `param_space` into a search space: everything that Ray would sample becomes a variable."""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.search.sample import Categorical, Domain, Float, Function, Integer, LogUniform, Normal, Quantized, Uniform

from multinas_ray.core import Condition
from multinas_ray.errors import ConfigError
from multinas_ray.runs import (
    STEPS,
    Choice,
    ConfigPath,
    ConfigSpace,
    ConfigVariable,
    Drawn,
    Number,
    Slot,
    without_repeats,
)

logger = logging.getLogger(__name__)

FUNCTION_TOKEN = "__fn_ph"
"""A Tuner gives a searcher a pair with this in place of a `sample_from` (ray.tune.impl.placeholder)."""

MOST_LISTED = 8
"""A range of numbers with at most this many values is a choice of them. On a quadratic of five numbers of 12 to 64
values, cells that are split led to better answers after 100 and 300 evaluations than a choice of the values. [ours]"""


def config_space(param_space: dict[str, Any]) -> ConfigSpace:
    """Translate a `param_space`: nested dicts and lists of constants and domains, to any depth.

    A `grid_search` is a choice of its values; `sample_from` is drawn when a configuration is run, and not searched.
    Both are told in the log. Domains within a `choice` (or a `grid_search`) are active where their part is chosen.

    Raises:
        ConfigError: There is no domain, or one cannot be searched; the message names it and what to use instead.
    """
    found = _Found()
    template = found.convert(param_space, ())
    if not found.variables:
        raise ConfigError("param_space must have a domain to search: give at least one, e.g. tune.choice")
    found.tell()
    return ConfigSpace(
        template, tuple(found.paths), tuple(found.variables), tuple(found.conditions), dict(found.functions)
    )


def has_domains(node: Any) -> bool:
    """Whether there is anything to sample in a (part of a) `param_space`."""
    return _is_domain(node) or any(has_domains(child) for _, child in _children(node))


class _Found:
    """What was found in a `param_space` so far."""

    def __init__(self) -> None:
        self.paths: list[ConfigPath] = []
        self.variables: list[ConfigVariable] = []
        self.conditions: list[Condition | None] = []
        self.functions: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self._grids: list[str] = []

    def convert(self, node: Any, path: ConfigPath, name: str = "", condition: Condition | None = None) -> Any:
        """The template of a part of the space.

        Args:
            node: the part.
            path: its place in a configuration.
            name: the path as text, in which the part of a choice has the number of the part.
            condition: where the part is active.
        """
        if _is_domain(node):
            return self._domain(node, path, name, condition)

        def convert_child(child: Any, key: Hashable) -> Any:
            return self.convert(child, (*path, key), f"{name}/{key}" if name else str(key), condition)

        if isinstance(node, Mapping):
            return {key: convert_child(child, key) for key, child in node.items()}
        if isinstance(node, (list, tuple)) and has_domains(node):
            converted = [convert_child(child, index) for index, child in enumerate(node)]
            return type(node)(*converted) if hasattr(node, "_fields") else type(node)(converted)
        return list(node) if type(node) is list else node

    def tell(self) -> None:
        """Say what is done with parts that are not searched as they stand."""
        if self._grids:
            logger.warning(
                "grid_search is searched like a choice: %s. num_samples counts all trials.", ", ".join(self._grids)
            )
        if self.functions:
            logger.warning("sample_from is drawn for each trial and not searched: %s.", ", ".join(self.functions))

    def _domain(self, node: Any, path: ConfigPath, name: str, condition: Condition | None) -> Any:
        if isinstance(node, Function) or _is_placeholder(node):
            self.functions[name] = _caller(node) if isinstance(node, Function) else _Placeholder(node)
            return Drawn(name, path)
        if isinstance(node, Mapping) and "grid_search" in node:
            self._grids.append(name)
            return self._choice(node["grid_search"], path, name, condition)
        if isinstance(node, Categorical):
            return self._choice(node.categories, path, name, condition)
        return self._add(_number(node, name), path, condition)

    def _choice(self, values: Any, path: ConfigPath, name: str, condition: Condition | None) -> Slot:
        if not isinstance(values, Sequence) or isinstance(values, str) or not len(values):
            raise ConfigError(f"{name} must be a list of at least one value, got {values!r}: give it values")
        if not any(has_domains(value) for value in values):
            return self._add(_listed(name, *without_repeats(values)), path, condition)
        slot = self._add(Choice(name, tuple(range(len(values)))), path, condition)
        parts = [
            self.convert(value, path, f"{name}[{number}]", (slot.index, number)) for number, value in enumerate(values)
        ]
        self.variables[slot.index] = Choice(name, tuple(parts))
        return slot

    def _add(self, variable: ConfigVariable, path: ConfigPath, condition: Condition | None) -> Slot:
        if variable.name in (other.name for other in self.variables):
            raise ConfigError(f"the names of variables must differ, two are called {variable.name}: rename one of them")
        self.paths.append(path)
        self.variables.append(variable)
        self.conditions.append(condition)
        return Slot(len(self.variables) - 1)


def _children(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, Categorical):
        return list(enumerate(node.categories))
    if isinstance(node, Mapping):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, (list, tuple)) else []


def _is_domain(node: Any) -> bool:
    """Whether Tune's variant generator would resolve this node, or Tune itself when a trial starts."""
    is_command = isinstance(node, Mapping) and len(node) == 1 and ("grid_search" in node or "eval" in node)
    return is_command or isinstance(node, Domain) or _is_placeholder(node)


def _is_placeholder(node: Any) -> bool:
    return isinstance(node, tuple) and len(node) == 2 and node[0] == FUNCTION_TOKEN


@dataclass(frozen=True)
class _Placeholder:
    """Draws nothing: it stays in the configuration, and Tune draws the value in its place when the trial starts."""

    node: Any

    def __call__(self, config: dict[str, Any]) -> Any:
        return self.node


def _caller(domain: Function) -> Callable[[dict[str, Any]], Any]:
    return lambda config: domain.sample(config=config)


def _listed(name: str, values: Sequence[Any], weights: Sequence[float] | None) -> Choice:
    return Choice(name, tuple(values), None if weights is None else tuple(weights))


def _number(domain: Any, name: str) -> ConfigVariable:
    """The variable of a domain of numbers."""
    sampler: Any = domain.get_sampler() if isinstance(domain, (Integer, Float)) else None  # type: ignore[no-untyped-call]
    quantum = sampler.q if isinstance(sampler, Quantized) else None
    inner = sampler.sampler if isinstance(sampler, Quantized) else sampler
    if isinstance(inner, Normal) and isinstance(domain, Float):
        return _checked(Number(name, "normal", float(inner.mean), float(inner.sd), quantum))
    if not isinstance(inner, (Uniform, LogUniform)):
        raise ConfigError(
            f"{name} must be a domain that Tune documents, got {domain!r}: use tune.choice([...]), or tune.sample_from "
            "for values that shall be drawn and not searched"
        )
    scale = "log" if isinstance(inner, LogUniform) else "uniform"
    low, high = domain.lower, domain.upper
    if isinstance(domain, Integer):
        if quantum is not None:  # exclusive above, but inclusive with a quantum other than 1
            low, high = _grid_bounds(low, high, quantum)
            high += quantum != 1
        unit = None if quantum in (None, 1) else quantum
        return _checked(Number(name, scale, int(low), int(high), unit, is_whole=True))  # type: ignore[arg-type]
    return _checked(Number(name, scale, float(low), float(high), quantum))  # type: ignore[arg-type]


def _checked(number: Number) -> ConfigVariable:
    """The number, or a choice of its values if there are few, with the probabilities that Ray gives them."""
    if number.scale != "normal":
        if number.is_whole and number.high <= number.low:
            raise ConfigError(f"{number.name} has no value between its bounds: widen them or leave it out")
        if not number.low <= number.high:
            raise ConfigError(f"{number.name} must have a lower bound below its upper one: swap them")
    if number.low == number.high and not number.is_whole:
        return Choice(number.name, (number.value(0),))
    if number.num_values > STEPS:
        raise ConfigError(
            f"{number.name} must have at most 2**52 values, got {number.num_values}: narrow it or use tune.lograndint"
        )
    edges = _edges(number)
    if edges is None:
        return number
    chances = [number.share(high) - number.share(low) for low, high in itertools.pairwise(edges)]
    values = [_value_between(number, low, high) for low, high in itertools.pairwise(edges)]
    is_even = max(chances) - min(chances) < 1e-12
    return Choice(number.name, tuple(values), None if is_even else tuple(chances))


def _edges(number: Number) -> list[float] | None:
    """The bounds between the values of a range of at most MOST_LISTED values; None if it has more."""
    if number.scale == "normal" or (number.quantum is None and not number.is_whole):
        return None
    if number.is_whole:
        first, last = int(number.low), int(number.high)
        return [float(edge) for edge in range(first, last + 1)] if last - first <= MOST_LISTED else None
    assert number.quantum is not None
    low, high = _grid_bounds(number.low, number.high, number.quantum)
    if high - low + 1 > MOST_LISTED:
        return None
    return [number.low, *((count + 0.5) * number.quantum for count in range(low, high)), number.high]


def _value_between(number: Number, low: float, high: float) -> int | float:
    if number.is_whole:
        return int(low) * int(number.quantum or 1)
    assert number.quantum is not None
    return float(round((low + high) / 2 / number.quantum)) * number.quantum


def _grid_bounds(lower: float, upper: float, quantum: float) -> tuple[int, int]:
    """The first and last multiple of the quantum within the bounds, rounded as Ray rounds them."""

    def multiple(bound: float, rounding: Callable[[float], int]) -> int:
        scaled = bound / quantum
        return round(scaled) if math.isclose(scaled, round(scaled)) else rounding(scaled)

    return multiple(lower, math.ceil), multiple(upper, math.floor)
