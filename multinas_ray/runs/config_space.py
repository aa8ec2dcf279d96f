"""Configurations with choices in them as plain data: nested containers, constants, and variables for the choices.

Notation: D variables, N architectures.
"""

import itertools
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from multinas_ray.core import INACTIVE, CategoryLayout, Condition
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs.config_nodes import ConfigPath, Drawn, Slot, Unwritable, from_plain, to_plain
from multinas_ray.runs.config_variables import Choice, ConfigVariable, Number, label
from multinas_ray.settings import checked

_NOTHING = object()
"""Takes the place of a value that is not there."""

_NO_FIT = -1_000_000


@checked
@dataclass(frozen=True, eq=False)
class ConfigSpace:
    """Configurations of one shape: a template with a slot for each variable."""

    template: Any
    """Nested dicts, lists and tuples; leaves are constants, `Slot`s and `Drawn`s."""

    paths: tuple[ConfigPath, ...]
    """(D,) place of each variable."""

    variables: tuple[ConfigVariable, ...]
    """The variables, each with a name of its own. A choice may hold `Slot`s in its values, but only of later ones."""

    conditions: tuple[Condition | None, ...]
    """(D,) the earlier choice, and its value, under which each variable is active; None: always."""

    functions: Mapping[str, Callable[[dict[str, Any]], Any] | None]
    """Name of each `Drawn` -> the function that draws it from the rest of the configuration; None: lost."""

    @cached_property
    def layout(self) -> CategoryLayout:
        """The variables as the core knows them."""
        return CategoryLayout.of(**self.for_optimizer())

    @cached_property
    def is_listed(self) -> bool:
        """Whether every variable is a choice."""
        return all(isinstance(variable, Choice) for variable in self.variables)

    @property
    def num_architectures(self) -> int:
        """Size of the space, in which those that differ in inactive variables alone count each."""
        return math.prod(variable.num_values for variable in self.variables)

    @property
    def is_whole(self) -> bool:
        """Whether every value is known, and not only its repr."""
        choices = [list(variable.choices) for variable in self.variables if isinstance(variable, Choice)]
        has_functions = all(function is not None for function in self.functions.values())
        return has_functions and not any(_holds_unwritable(value) for value in (self.template, *choices))

    def for_optimizer(self) -> dict[str, Any]:
        """The settings of an optimiser that describe the variables."""
        counts = tuple(variable.num_categories for variable in self.variables)
        values = tuple(variable.num_values for variable in self.variables)
        weights = tuple(variable.weights for variable in self.variables)
        return {
            "num_categories": counts,
            "num_values": None if self.is_listed else values,
            "conditions": self.conditions if any(self.conditions) else None,
            "prior": weights if any(weights) else None,
        }

    def decode(
        self, architecture: Sequence[int] | npt.NDArray[np.int64], drawn: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Build the configuration of an architecture, with new containers and the constants.

        Args:
            architecture: (D,) value of each variable.
            drawn: values that were drawn; the configuration lacks those that are not given.
        """
        values = [
            None if place == INACTIVE else variable.value(int(place))
            for variable, place in zip(self.variables, architecture, strict=True)
        ]
        config: dict[str, Any] = _fill(self.template, values, drawn or {})
        return config

    def draw(self, architecture: Sequence[int]) -> dict[str, Any]:
        """Draw the values of a configuration that are not searched, each by its function from the others.

        Raises:
            ConfigError: A function raises, whichever of the others are there.
        """
        drawn: dict[str, Any] = {}
        if not self.functions:
            return drawn
        active = {leaf.name for leaf in _leaves(self.template, architecture, self.variables)}
        waiting = [name for name in self.functions if name in active]
        while waiting:
            errors: dict[str, Exception] = {}
            for name in waiting:
                function = self.functions[name]
                assert function is not None
                try:
                    drawn[name] = function(self.decode(architecture, drawn))
                except Exception as error:  # the function is the user's and may raise anything
                    errors[name] = error
            if len(errors) == len(waiting):
                name, first = next(iter(errors.items()))
                raise ConfigError(
                    f"{name} must be drawn by its sample_from, which raised {first!r}: give it a function of the config"
                ) from first
            waiting = list(errors)
        return drawn

    def drawn_in(self, flat: Mapping[str, Any], architecture: Sequence[int]) -> dict[str, Any]:
        """The values that were drawn, from a configuration whose keys are paths, joined by "/"."""
        found = {leaf.name: _value_in(flat, leaf.path) for leaf in _leaves(self.template, architecture, self.variables)}
        return {name: value for name, value in found.items() if value is not _NOTHING}

    def encode(self, config: Mapping[str, Any]) -> tuple[int, ...]:
        """Find the architecture of a configuration, in which constants may be missing.

        Args:
            config: Nested like the template, or flat with paths, joined by "/", as keys.

        Raises:
            ConfigError: A variable is missing, a value is not one of its choices, or a key is unknown.
        """
        names = {"/".join(map(str, path)) for path in self.paths}
        unknown = [key for key in config if key not in names and key not in self.template]
        if unknown:
            raise ConfigError(f"a point must only have known keys, {unknown} are unknown: use {sorted(names)}")
        return self._encode(lambda path: _value_at(config, path))

    def encode_flat(self, flat: Mapping[str, Any]) -> tuple[int, ...]:
        """As `encode`, where keys are paths, joined by "/", and unknown ones do no harm."""
        return self._encode(lambda path: _value_in(flat, path))

    def key(self, architecture: Sequence[int]) -> bytes:
        """What equal configurations have in common."""
        places = list(architecture)
        for d, number in self._rounded:
            if places[d] != INACTIVE:
                places[d] = number.place(number.value(places[d]))
        return bytes(places) if self._fits_bytes else np.array(places, dtype=np.int64).tobytes()

    def describe(self, architecture: Sequence[int]) -> str:
        """The values in the order of the variables, separated by blanks, for tables and records."""
        return " ".join(label(variable, place) for variable, place in zip(self.variables, architecture, strict=True))

    def random(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """(count, D) architectures in which all values of each variable are equally likely."""
        limits_D = np.array(self.layout.num_values)
        return self.layout.without_inactive(rng.integers(0, limits_D, (count, len(limits_D)), dtype=np.int64))

    def enumerate(self) -> Iterator[tuple[int, ...]]:
        """Each architecture of a space of choices once."""
        for row in itertools.product(*(range(variable.num_values) for variable in self.variables)):
            masked = tuple(self.layout.without_inactive(np.array([row]))[0].tolist()) if any(self.conditions) else row
            if all(place != INACTIVE or old == 0 for place, old in zip(masked, row, strict=True)):
                yield masked

    def to_plain(self) -> dict[str, Any]:
        """Describe the space as plain data; a value that is not plain data is described by its repr."""
        rows = zip(self.paths, self.variables, self.conditions, strict=True)
        plain = {"template": to_plain(self.template), "variables": [_plain_variable(*row) for row in rows]}
        return {**plain, "drawn": list(self.functions)} if self.functions else plain

    @staticmethod
    def from_plain(data: Any) -> "ConfigSpace":
        """Read what `to_plain` gave.

        Raises:
            StateError: The data do not have this form.
        """
        try:
            return ConfigSpace(
                from_plain(data["template"]),
                tuple(from_plain(each["path"]) for each in data["variables"]),
                tuple(_variable_of(each) for each in data["variables"]),
                tuple(tuple(each["active"]) if "active" in each else None for each in data["variables"]),
                dict.fromkeys(data.get("drawn", ())),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"the recorded space is damaged ({error!r}): restore a copy of config.json") from error

    @cached_property
    def _rounded(self) -> list[tuple[int, Number]]:
        """The variables of which several steps can be the same value."""
        return [(d, each) for d, each in enumerate(self.variables) if isinstance(each, Number) and not each.is_exact]

    @cached_property
    def _fits_bytes(self) -> bool:
        return not any(self.conditions) and all(variable.num_values <= 256 for variable in self.variables)

    def _encode(self, value_at: Callable[[ConfigPath], Any]) -> tuple[int, ...]:
        places = [INACTIVE] * len(self.variables)
        for d, (variable, path) in enumerate(zip(self.variables, self.paths, strict=True)):
            condition = self.conditions[d]
            if condition is not None and places[condition[0]] != condition[1]:
                continue
            if isinstance(variable, Choice) and any(_slots(choice) for choice in variable.choices):
                places[d] = self._option_at(variable, path, value_at)
                continue
            value = value_at(path)
            if value is _NOTHING:
                raise ConfigError(f"a point must have every variable, {variable.name!r} is missing: add it")
            places[d] = variable.place(value)
        return tuple(places)

    def _option_at(self, variable: Choice, path: ConfigPath, value_at: Callable[[ConfigPath], Any]) -> int:
        """The choice whose constants are there; of several the one with most of its parts there."""
        fits = [(self._fit(choice, path, value_at), -c) for c, choice in enumerate(variable.choices)]
        most, number = max(fits)
        if most < 0:
            raise ConfigError(
                f"the value of {variable.name!r} must be one of its {len(variable.choices)} choices, it fits none: "
                "give the constants and variables of one of them"
            )
        return -number

    def _fit(self, node: Any, path: ConfigPath, value_at: Callable[[ConfigPath], Any]) -> int:
        """How much of a choice a configuration has at this place; less than 0 if it must be another choice."""
        if isinstance(node, dict) and node:
            return sum(self._fit(child, (*path, key), value_at) for key, child in node.items())
        if isinstance(node, (list, tuple)) and _slots(node):
            return sum(self._fit(child, (*path, key), value_at) for key, child in enumerate(node))
        value = value_at(path)
        if not isinstance(node, Slot):
            is_there = isinstance(node, Drawn) or (value is not _NOTHING and value == node)
            return 2 if is_there else _NO_FIT
        variable = self.variables[node.index]
        if isinstance(variable, Choice) and any(_slots(choice) for choice in variable.choices):
            return max(self._fit(choice, path, value_at) for choice in variable.choices)
        try:
            variable.place(value)
        except ConfigError:
            return _NO_FIT
        return 1  # a constant is a better fit


def _fill(node: Any, values: list[Any], drawn: Mapping[str, Any]) -> Any:
    if isinstance(node, Slot):
        value = values[node.index]
        return _fill(value, values, drawn) if _slots(value) else value
    if isinstance(node, Drawn):
        return drawn.get(node.name, _NOTHING)
    if isinstance(node, dict):
        filled = {key: _fill(child, values, drawn) for key, child in node.items()}
        return {key: child for key, child in filled.items() if child is not _NOTHING}
    if isinstance(node, (list, tuple)):
        listed = [_fill(child, values, drawn) for child in node]
        return type(node)([None if child is _NOTHING else child for child in listed])
    return node


def _children(node: Any) -> Iterator[tuple[Hashable, Any]]:
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, (list, tuple)):
        yield from enumerate(node)


def _slots(node: Any) -> bool:
    """Whether a value holds variables or values that are drawn."""
    if isinstance(node, (dict, list, tuple)):
        return any(_slots(child) for _, child in _children(node))
    return isinstance(node, Slot | Drawn)


def _leaves(node: Any, architecture: Sequence[int], variables: Sequence[ConfigVariable]) -> Iterator[Drawn]:
    """The values to draw in the configuration of an architecture."""
    if isinstance(node, Drawn):
        yield node
    elif isinstance(node, Slot):
        variable = variables[node.index]
        if isinstance(variable, Choice):
            yield from _leaves(variable.choices[architecture[node.index]], architecture, variables)
    else:
        for _, child in _children(node):
            yield from _leaves(child, architecture, variables)


def _value_at(config: Mapping[Any, Any], path: ConfigPath) -> Any:
    if (name := "/".join(map(str, path))) in config:
        return config[name]
    value: Any = config
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return _NOTHING
    return value


def _value_in(flat: Mapping[str, Any], path: ConfigPath) -> Any:
    """The value of a flat configuration, in which lists are not flat."""
    for stop in range(len(path), 0, -1):
        if (name := "/".join(map(str, path[:stop]))) in flat:
            return _value_at({"": flat[name]}, ("", *path[stop:]))
    return _NOTHING


def _holds_unwritable(node: Any) -> bool:
    return isinstance(node, Unwritable) or any(_holds_unwritable(child) for _, child in _children(node))


def _plain_variable(path: ConfigPath, variable: ConfigVariable, condition: Condition | None) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": variable.name, "path": to_plain(path)}
    if isinstance(variable, Number):
        plain["number"] = {name: value for name, value in asdict(variable).items() if name != "name"}
    else:
        plain["choices"] = [to_plain(choice) for choice in variable.choices]
        if variable.weights is not None:
            plain["weights"] = list(variable.weights)
    return plain if condition is None else {**plain, "active": list(condition)}


def _variable_of(plain: Mapping[str, Any]) -> ConfigVariable:
    if "number" in plain:
        return Number(plain["name"], **plain["number"])
    weights = tuple(plain["weights"]) if "weights" in plain else None
    return Choice(plain["name"], tuple(map(from_plain, plain["choices"])), weights)
