"""Translating a Tune `param_space` into a search space: every value that Ray would sample becomes a choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search.sample import Categorical, Domain, Float, Grid, Integer, LogUniform, Quantized, Uniform

from multinas_ray.errors import ConfigError
from multinas_ray.runs import ConfigPath, ConfigSpace, Slot
from multinas_ray.spaces import SearchSpace, Variable

MAX_CHOICES = 64
"""Largest number of values of one variable, since a distribution learns a probability for each."""


def config_space(param_space: dict[str, Any]) -> ConfigSpace:
    """Translate a `param_space`: nested dicts and lists of constants and domains.

    Domains: `tune.choice`, `randint`, `qrandint`, `lograndint`, `qlograndint`, `quniform` and `qloguniform`, with at
    most `MAX_CHOICES` values each. A domain's own distribution is not used: all values start equally likely.

    Raises:
        ConfigError: There is no domain, or one cannot be searched; the message names it and what to use instead.
    """
    variables: list[Variable] = []
    paths: list[ConfigPath] = []

    def convert(node: Any, path: ConfigPath) -> Any:
        if _is_domain(node):
            variables.append(_variable(node, "/".join(map(str, path))))
            paths.append(path)
            return Slot(len(paths) - 1)
        return _map_children(node, lambda child, key: convert(child, (*path, key)))

    template = convert(param_space, ())
    if not variables:
        raise ConfigError("param_space must have a domain to search: give at least one, e.g. tune.choice")
    return ConfigSpace(template, tuple(paths), SearchSpace(tuple(variables)))


def has_domains(node: Any) -> bool:
    """Whether there is anything to sample in a (part of a) `param_space`."""
    if _is_domain(node):
        return True
    found: list[bool] = []
    _map_children(node, lambda child, _: found.append(has_domains(child)))
    return any(found)


def _map_children(node: Any, function: Callable[[Any, Any], Any]) -> Any:
    if isinstance(node, dict):
        return {key: function(child, key) for key, child in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)([function(child, index) for index, child in enumerate(node)])
    return node


def _is_domain(node: Any) -> bool:
    """Whether Tune's variant generator would resolve this node."""
    is_command = isinstance(node, dict) and len(node) == 1 and ("grid_search" in node or "eval" in node)
    return is_command or isinstance(node, Domain)


def _variable(domain: Any, name: str) -> Variable:
    is_grid = isinstance(domain, Categorical) and isinstance(domain.sampler, Grid)
    choices: Sequence[Any]
    if isinstance(domain, Categorical) and not is_grid:
        choices = domain.categories
        if any(has_domains(choice) for choice in choices):
            raise ConfigError(f"{name} must not have a domain inside a choice: give each domain a key of its own")
        _check_number(len(choices), name)
    elif isinstance(domain, Integer):
        choices = _whole_numbers(domain, name)
    elif isinstance(domain, Float):
        choices = _quantised_numbers(domain, name)
    else:
        raise ConfigError(
            f"{name} must be a domain with a list of values, not a grid_search, a sample_from or an unknown one, got "
            f"{domain!r}: use tune.choice([...])"
        )
    return Variable(name, tuple(choices))


def _whole_numbers(domain: Any, name: str) -> list[int]:
    """The values of an integer domain. The upper bound is exclusive, but inclusive with a quantum other than 1."""
    sampler = domain.get_sampler()
    quantum = sampler.q if isinstance(sampler, Quantized) else 1
    inner = sampler.sampler if isinstance(sampler, Quantized) else sampler
    if not isinstance(inner, (Uniform, LogUniform)):
        raise ConfigError(f"{name} is sampled in an unknown way: use tune.randint, tune.qrandint or tune.choice([...])")
    first, last = _grid_bounds(domain.lower, domain.upper, quantum)
    multiples = range(first, last + (quantum != 1))
    _check_number(len(multiples), name)
    return [int(multiple * quantum) for multiple in multiples]


def _quantised_numbers(domain: Any, name: str) -> list[float]:
    """The values of a quantised float domain, both bounds inclusive."""
    sampler = domain.get_sampler()
    if not isinstance(sampler, Quantized):
        raise ConfigError(
            f"{name} must have a list of values, it is continuous between {domain.lower} and {domain.upper}: "
            "use tune.quniform(lower, upper, q), tune.qloguniform or tune.choice([...])"
        )
    if not isinstance(sampler.sampler, (Uniform, LogUniform)):
        raise ConfigError(
            f"{name} must have bounds, qrandn has none: use tune.quniform(lower, upper, q) or tune.choice([...])"
        )
    first, last = _grid_bounds(domain.lower, domain.upper, sampler.q)
    _check_number(last + 1 - first, name)
    return [float(multiple) * sampler.q for multiple in range(first, last + 1)]


def _grid_bounds(lower: float, upper: float, quantum: float) -> tuple[int, int]:
    """The first and last multiple of the quantum within the bounds, rounded as Ray rounds them."""

    def multiple(bound: float, rounding: Callable[[float], int]) -> int:
        scaled = bound / quantum
        return round(scaled) if math.isclose(scaled, round(scaled)) else rounding(scaled)

    return multiple(lower, math.ceil), multiple(upper, math.floor)


def _check_number(count: int, name: str) -> None:
    if count < 1:
        raise ConfigError(f"{name} has no value between its bounds: widen them or leave it out")
    if count > MAX_CHOICES:
        raise ConfigError(
            f"{name} must have at most {MAX_CHOICES} values, it has {count}: use a coarser q, or tune.choice of the "
            "values that matter"
        )
