"""The nodes of a configuration's template, and their form as plain data."""

import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from multinas_ray.errors import StateError
from multinas_ray.settings import checked
from multinas_ray.storage import encode_plain

ConfigPath = tuple[Hashable, ...]
"""Keys and positions from the root of a configuration to one of its values."""


@checked
@dataclass(frozen=True)
class Slot:
    """The place of a variable in a template."""

    index: int
    """Number of the variable."""


@dataclass(frozen=True)
class Drawn:
    """The place of a value that is drawn when a configuration is run, and not searched."""

    name: str
    path: ConfigPath
    """Its place in a configuration."""


@dataclass(frozen=True)
class Unwritable:
    """Takes the place of a value that plain data cannot represent when a record is read."""

    text: str
    """The value's repr."""

    def __repr__(self) -> str:
        return self.text


def to_plain(node: Any) -> dict[str, Any]:
    """A node with all below it as plain data; what plain data cannot represent keeps its repr."""
    if isinstance(node, Slot):
        return {"variable": node.index}
    if isinstance(node, Drawn):
        return {"drawn": [node.name, to_plain(node.path)]}
    if isinstance(node, dict):
        return {"dict": [[to_plain(key), to_plain(child)] for key, child in node.items()]}
    if isinstance(node, list):
        return {"list": [to_plain(child) for child in node]}
    if type(node) is tuple:
        return {"tuple": [to_plain(child) for child in node]}
    try:
        encode_plain(node)
    except StateError:
        return {"repr": re.sub(r" at 0x[0-9a-f]+", "", repr(node))}  # addresses differ from run to run
    return {"value": node}


def from_plain(node: dict[str, Any]) -> Any:
    """The node of plain data from `to_plain`."""
    ((kind, content),) = node.items()
    if kind == "dict":
        return {from_plain(key): from_plain(child) for key, child in content}
    if kind == "list":
        return [from_plain(child) for child in content]
    if kind == "tuple":
        return tuple(from_plain(child) for child in content)
    leaves: dict[str, Callable[[Any], Any]] = {
        "variable": Slot,
        "drawn": lambda drawn: Drawn(drawn[0], from_plain(drawn[1])),
        "repr": Unwritable,
        "value": lambda value: value,
    }
    return leaves[kind](content)
