"""Configurations with choices in them as plain data: nested containers, constants, and variables for the choices.

Notation: D variables, N architectures.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from multinas_ray.core import INACTIVE, CategoryLayout, Condition
from multinas_ray.errors import FAILURES, ConfigError, StateError
from multinas_ray.runs.config_nodes import ConfigPath, Drawn, Slot, from_plain, to_plain
from multinas_ray.runs.config_template import (
    NOTHING,
    fill,
    flat_value_of,
    holds_slots,
    holds_unwritable,
    leaves,
    value_of,
)
from multinas_ray.runs.config_variables import Choice, ConfigVariable, Number, holds, is_near, label
from multinas_ray.settings import checked

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
    def keeps_values(self) -> bool:
        """Whether the record of the space has a column for values that no architecture has."""
        return not self.is_listed or any(self.conditions) or bool(self.functions)

    @property
    def num_architectures(self) -> int:
        """Size of the space, in which those that differ in inactive variables alone count each."""
        return math.prod(variable.num_values for variable in self.variables)

    @property
    def is_whole(self) -> bool:
        """Whether every value is known, and not only its repr."""
        choices = [list(variable.choices) for variable in self.variables if isinstance(variable, Choice)]
        has_functions = all(function is not None for function in self.functions.values())
        return has_functions and not any(holds_unwritable(value) for value in (self.template, *choices))

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
            drawn: values that were drawn, by name; the configuration lacks those that are not given. A value by the
                name of a variable takes the place of the architecture's, see `encode_nearest`.
        """
        values = [
            None if place == INACTIVE else variable.value(int(place))
            for variable, place in zip(self.variables, architecture, strict=True)
        ]
        if drawn:
            values = [drawn.get(each.name, value) for each, value in zip(self.variables, values, strict=True)]
        config: dict[str, Any] = fill(self.template, values, drawn or {}, self._with_parts)
        return config

    def draw(self, architecture: Sequence[int]) -> dict[str, Any]:
        """Draw the values of a configuration that are not searched, each by its function from the others.

        Raises:
            ConfigError: A function raises, whichever of the others are there.
        """
        drawn: dict[str, Any] = {}
        if not self.functions:
            return drawn
        active = {leaf.name for leaf in leaves(self.template, architecture, self.variables)}
        waiting = [name for name in self.functions if name in active]
        while waiting:
            errors: dict[str, BaseException] = {}
            for name in waiting:
                function = self.functions[name]
                assert function is not None
                try:
                    drawn[name] = function(self.decode(architecture, drawn))
                except FAILURES as error:  # the function is the user's and may raise anything
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
        found = {
            leaf.name: flat_value_of(flat, leaf.path) for leaf in leaves(self.template, architecture, self.variables)
        }
        return {name: value for name, value in found.items() if value is not NOTHING}

    def encode(self, config: Mapping[str, Any]) -> tuple[int, ...]:
        """Find the architecture of a configuration, in which constants may be missing.

        Args:
            config: Nested like the template, or flat with paths, joined by "/", as keys.

        Raises:
            ConfigError: A variable is missing, a value is not one of its choices, or a key is unknown.
        """
        self._check_keys(config)
        return self._encode(lambda path: value_of(config, path))

    def encode_nearest(self, config: Mapping[str, Any]) -> tuple[tuple[int, ...], dict[str, Any]]:
        """As `encode`, where numbers may lie between those of a variable, if the record can hold them.

        Returns:
            The nearest architecture, and by name the values that are not its own, for `decode`.
        """
        if not self.keeps_values:
            return self.encode(config), {}
        self._check_keys(config)
        places = self._encode(lambda path: value_of(config, path), nearest=True)
        own: dict[str, Any] = {}
        for variable, place, path in zip(self.variables, places, self.paths, strict=True):
            value = value_of(config, path)
            if place != INACTIVE and not _has_parts(variable) and not holds(variable, value):
                own[variable.name] = value
        return places, own

    def encode_flat(self, flat: Mapping[str, Any]) -> tuple[int, ...]:
        """As `encode`, where keys are paths, joined by "/", and unknown ones do no harm."""
        return self._encode(lambda path: flat_value_of(flat, path))

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
    def _with_parts(self) -> frozenset[int]:
        """The numbers of the choices among parts with variables of their own."""
        return frozenset(d for d, variable in enumerate(self.variables) if _has_parts(variable))

    @cached_property
    def _rounded(self) -> list[tuple[int, Number]]:
        """The variables of which several steps can be the same value."""
        return [(d, each) for d, each in enumerate(self.variables) if isinstance(each, Number) and not each.is_exact]

    @cached_property
    def _fits_bytes(self) -> bool:
        return not any(self.conditions) and all(variable.num_values <= 256 for variable in self.variables)

    def _check_keys(self, config: Mapping[str, Any]) -> None:
        names = {"/".join(map(str, path)) for path in self.paths}
        unknown = [key for key in config if key not in names and key not in self.template]
        if unknown:
            raise ConfigError(f"a point must only have known keys, {unknown} are unknown: use {sorted(names)}")

    def _encode(self, value_at: Callable[[ConfigPath], Any], nearest: bool = False) -> tuple[int, ...]:
        places = [INACTIVE] * len(self.variables)
        for d, (variable, path) in enumerate(zip(self.variables, self.paths, strict=True)):
            condition = self.conditions[d]
            if condition is not None and places[condition[0]] != condition[1]:
                continue
            if _has_parts(variable):
                places[d] = self._option_at(variable, path, value_at, nearest)
                continue
            value = value_at(path)
            if value is NOTHING:
                raise ConfigError(f"a point must have every variable, {variable.name!r} is missing: add it")
            places[d] = variable.nearest(value) if nearest else variable.place(value)
        return tuple(places)

    def _option_at(
        self, variable: Choice, path: ConfigPath, value_at: Callable[[ConfigPath], Any], nearest: bool
    ) -> int:
        """The choice whose constants are there; of several the one with most of its parts there."""
        fits = [(self._fit(choice, path, value_at, nearest), -c) for c, choice in enumerate(variable.choices)]
        most, number = max(fits)
        if most < 0:
            raise ConfigError(
                f"the value of {variable.name!r} must be one of its {len(variable.choices)} choices, it fits none: "
                "give the constants and variables of one of them"
            )
        return -number

    def _fit(self, node: Any, path: ConfigPath, value_at: Callable[[ConfigPath], Any], nearest: bool) -> int:
        """How much of a choice a configuration has at this place; less than 0 if it must be another choice."""
        if isinstance(node, dict) and node:
            return sum(self._fit(child, (*path, key), value_at, nearest) for key, child in node.items())
        if isinstance(node, (list, tuple)) and holds_slots(node):
            return sum(self._fit(child, (*path, key), value_at, nearest) for key, child in enumerate(node))
        value = value_at(path)
        if not isinstance(node, Slot):
            is_there = isinstance(node, Drawn) or (value is not NOTHING and value == node)
            return 2 if is_there else _NO_FIT
        variable = self.variables[node.index]
        if _has_parts(variable):
            return max(self._fit(choice, path, value_at, nearest) for choice in variable.choices)
        if holds(variable, value):
            return 1  # a constant is a better fit
        return 0 if nearest and is_near(variable, value) else _NO_FIT


def _has_parts(variable: ConfigVariable) -> TypeGuard[Choice]:
    """Whether it is a choice among parts with variables of their own."""
    return isinstance(variable, Choice) and any(holds_slots(choice) for choice in variable.choices)


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
