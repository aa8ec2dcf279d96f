"""Configurations with choices in them as plain data: nested containers, constants, and variables for the choices.

Notation: D variables.
"""

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.spaces import SearchSpace, Variable
from multinas_ray.storage import encode_plain

ConfigPath = tuple[Hashable, ...]
"""Keys and positions from the root of a configuration to one of its values."""


@dataclass(frozen=True)
class Slot:
    """The place of a variable in a template."""

    index: int
    """Number of the variable."""


@dataclass(frozen=True)
class Unwritable:
    """Takes the place of a value that plain data cannot represent when a record is read."""

    text: str
    """The value's repr."""

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True, eq=False)
class ConfigSpace:
    """Configurations of one shape: a template with a slot for each variable of a search space."""

    template: Any
    """Nested dicts, lists and tuples; leaves are constants and `Slot`s."""

    paths: tuple[ConfigPath, ...]
    """(D,) place of each variable."""

    search_space: SearchSpace
    """The variables, named by their paths, joined by "/"."""

    def decode(self, architecture: Sequence[int] | np.ndarray[Any, Any]) -> dict[str, Any]:
        """Build the configuration of an architecture, with new containers and the constants.

        Args:
            architecture: (D,) index of each variable's choice.
        """
        variables = self.search_space.variables
        choices = [variable.choices[index] for variable, index in zip(variables, architecture, strict=True)]
        config: dict[str, Any] = _fill(self.template, choices)
        return config

    def encode(self, config: Mapping[str, Any]) -> tuple[int, ...]:
        """Find the architecture of a configuration, in which constants may be missing.

        Args:
            config: Nested like the template, or flat with the variables' names as keys.

        Raises:
            ConfigError: A variable is missing, a value is not one of its choices, or a key is unknown.
        """
        named = {variable.name for variable in self.search_space.variables}
        unknown = [key for key in config if key not in named and key not in self.template]
        if unknown:
            raise ConfigError(f"a point must only have known keys, {unknown} are unknown: use {sorted(named)}")
        variables = zip(self.paths, self.search_space.variables, strict=True)
        return tuple(_index_of(variable, _value_at(config, path, variable.name)) for path, variable in variables)

    @property
    def is_whole(self) -> bool:
        """Whether every value is known, and not only its repr."""
        values = [self.template, *(list(variable.choices) for variable in self.search_space.variables)]
        return not any(_holds_unwritable(value) for value in values)

    def to_plain(self) -> dict[str, Any]:
        """Describe the space as plain data; a value that is not plain data is described by its repr."""
        return {
            "template": _to_plain(self.template),
            "variables": [
                {"name": variable.name, "path": _to_plain(path), "choices": [_to_plain(c) for c in variable.choices]}
                for path, variable in zip(self.paths, self.search_space.variables, strict=True)
            ],
        }

    @staticmethod
    def from_plain(data: Any) -> "ConfigSpace":
        """Read what `to_plain` gave.

        Raises:
            StateError: The data do not have this form.
        """
        try:
            variables = [Variable(each["name"], tuple(map(_from_plain, each["choices"]))) for each in data["variables"]]
            paths = tuple(_from_plain(each["path"]) for each in data["variables"])
            return ConfigSpace(_from_plain(data["template"]), paths, SearchSpace(tuple(variables)))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"the recorded space is damaged ({error!r}): restore a copy of config.json") from error


def _fill(node: Any, choices: list[Any]) -> Any:
    if isinstance(node, Slot):
        return choices[node.index]
    if isinstance(node, dict):
        return {key: _fill(child, choices) for key, child in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)([_fill(child, choices) for child in node])
    return node


def _value_at(config: Mapping[Any, Any], path: ConfigPath, name: str) -> Any:
    if name in config:
        return config[name]
    value: Any = config
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            raise ConfigError(
                f"a point must have every variable, {name!r} is missing in {dict(config)!r}: add it"
            ) from error
    return value


def _index_of(variable: Variable, value: Any) -> int:
    for index, choice in enumerate(variable.choices):
        is_close = isinstance(choice, float) and isinstance(value, (int, float)) and math.isclose(choice, value)
        if is_close or choice == value:
            return index
    raise ConfigError(
        f"{value!r} is not a choice of the variable {variable.name!r}: use one of {list(variable.choices)}"
    )


def _holds_unwritable(node: Any) -> bool:
    if isinstance(node, dict):
        return any(_holds_unwritable(child) for child in node.values())
    if isinstance(node, (list, tuple)):
        return any(_holds_unwritable(child) for child in node)
    return isinstance(node, Unwritable)


def _to_plain(node: Any) -> dict[str, Any]:
    if isinstance(node, Slot):
        return {"variable": node.index}
    if isinstance(node, dict):
        return {"dict": [[_to_plain(key), _to_plain(child)] for key, child in node.items()]}
    if isinstance(node, list):
        return {"list": [_to_plain(child) for child in node]}
    if type(node) is tuple:
        return {"tuple": [_to_plain(child) for child in node]}
    try:
        encode_plain(node)
    except StateError:
        return {"repr": re.sub(r" at 0x[0-9a-f]+", "", repr(node))}  # addresses differ from run to run
    return {"value": node}


def _from_plain(node: dict[str, Any]) -> Any:
    ((kind, content),) = node.items()
    if kind == "variable":
        return Slot(content)
    if kind == "dict":
        return {_from_plain(key): _from_plain(child) for key, child in content}
    if kind == "list":
        return [_from_plain(child) for child in content]
    if kind == "tuple":
        return tuple(_from_plain(child) for child in content)
    if kind == "repr":
        return Unwritable(content)
    if kind != "value":
        raise KeyError(kind)
    return content
