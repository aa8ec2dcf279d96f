"""Filling templates of configurations, and finding values in configurations."""

from collections.abc import Hashable, Iterator, Mapping, Sequence, Set
from typing import Any

from multinas_ray.runs.config_nodes import ConfigPath, Drawn, Slot, Unwritable
from multinas_ray.runs.config_variables import Choice, ConfigVariable

NOTHING = object()
"""Takes the place of a value that is not there."""


def fill(node: Any, values: list[Any], drawn: Mapping[str, Any], with_parts: Set[int]) -> Any:
    """The part of a configuration that a part of a template stands for.

    Args:
        node: the part of a template.
        values: of each variable, by its number.
        drawn: values that were drawn, by name.
        with_parts: numbers of the variables of which values are templates themselves.
    """
    if isinstance(node, Slot):
        value = values[node.index]
        return fill(value, values, drawn, with_parts) if node.index in with_parts else value
    if isinstance(node, Drawn):
        return drawn.get(node.name, NOTHING)
    if isinstance(node, dict):
        filled = {key: fill(child, values, drawn, with_parts) for key, child in node.items()}
        return {key: child for key, child in filled.items() if child is not NOTHING}
    if isinstance(node, (list, tuple)):
        listed = [fill(child, values, drawn, with_parts) for child in node]
        return type(node)([None if child is NOTHING else child for child in listed])
    return node


def children(node: Any) -> Iterator[tuple[Hashable, Any]]:
    """The parts of a container with their keys; none of anything else."""
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, (list, tuple)):
        yield from enumerate(node)


def holds_slots(node: Any) -> bool:
    """Whether a value holds variables or values that are drawn."""
    if isinstance(node, (dict, list, tuple)):
        return any(holds_slots(child) for _, child in children(node))
    return isinstance(node, Slot | Drawn)


def leaves(node: Any, architecture: Sequence[int], variables: Sequence[ConfigVariable]) -> Iterator[Drawn]:
    """The values to draw in the configuration of an architecture."""
    if isinstance(node, Drawn):
        yield node
    elif isinstance(node, Slot):
        variable = variables[node.index]
        if isinstance(variable, Choice):
            yield from leaves(variable.choices[architecture[node.index]], architecture, variables)
    else:
        for _, child in children(node):
            yield from leaves(child, architecture, variables)


def value_of(config: Mapping[Any, Any], path: ConfigPath) -> Any:
    """The value of a configuration, nested or flat; NOTHING if it is not there."""
    if (name := "/".join(map(str, path))) in config:
        return config[name]
    value: Any = config
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return NOTHING
    return value


def flat_value_of(flat: Mapping[str, Any], path: ConfigPath) -> Any:
    """The value of a flat configuration, in which lists are not flat; NOTHING if it is not there."""
    for stop in range(len(path), 0, -1):
        if (name := "/".join(map(str, path[:stop]))) in flat:
            return value_of({"": flat[name]}, ("", *path[stop:]))
    return NOTHING


def holds_unwritable(node: Any) -> bool:
    """Whether a value is lost, or a part of it."""
    return isinstance(node, Unwritable) or any(holds_unwritable(child) for _, child in children(node))
