"""Settings as plain data and back: what files hold and what flags change."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from multinas_ray.settings.marks import ReadBy, hints_of

Settings = TypeVar("Settings")


@runtime_checkable
class Following(Protocol):
    """Settings of which some belong to the value of another, as a path belongs to the kind of data that lies there."""

    def following(self, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        """New values of fields that lose their meaning by the changes; `changed` sets those that are not given."""


def plain(value: Any) -> Any:
    """A value as settings keep it: numpy scalars as numbers; lists, ranges and arrays as tuples, to any depth."""
    if type(value) in (int, float, str):
        return value
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        value = value.tolist()
    if type(value) in (list, tuple, range):
        return tuple(map(plain, value))
    if type(value) is dict:
        return {key: plain(each) for key, each in value.items()}
    return value


def argument(value: Any) -> Any:
    """A value as a function gets it: as `plain`, but lists stay lists and mappings as they are."""
    if type(value) in (list, tuple):
        return type(value)(map(argument, value))
    return value if isinstance(value, Mapping) else plain(value)


def to_plain(value: Any) -> Any:
    """Settings as plain data for a file, complete: `changed` of it gives the settings again.

    Args:
        value: settings, or a value within them; other objects tell of themselves by `to_dict`.
    """
    if is_settings(type(value)):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, (list, tuple)):
        return [to_plain(each) for each in value]
    if isinstance(value, Mapping):
        return {name: to_plain(each) for name, each in value.items()}
    return value


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Settings with some fields changed, checked anew.

    Args:
        settings: an object of a checked class.
        changes: new values by field, as plain data; a mapping changes the fields of nested settings. See `Following`
            for what else they change.

    Raises:
        ConfigError: a field is unknown, or its value breaks its rule.
    """
    if isinstance(settings, Following):
        changes = {**settings.following(changes), **changes}
    values = {name: _changed_value(settings, name, value) for name, value in changes.items()}
    return dataclasses.replace(settings, **values)  # type: ignore[type-var]  # settings are dataclasses


def made(settings: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Settings of plain data; nested ones are made of mappings.

    Raises:
        ConfigError: a field is unknown or missing, or its value breaks its rule.
    """
    return settings(**{name: _made_value(settings, name, value) for name, value in values.items()})


def is_settings(kind: type) -> bool:
    """Whether a class is one of settings, whose fields are given by name only, and no other description."""
    return dataclasses.is_dataclass(kind) and all(field.kw_only for field in dataclasses.fields(kind))


def nested_settings(hint: Any) -> type | None:
    """The class of settings that a field holds; None where it holds something else."""
    return hint if isinstance(hint, type) and is_settings(hint) else None


def _changed_value(settings: Any, name: str, value: Any) -> Any:
    before = getattr(settings, name, None)
    if isinstance(value, Mapping) and is_settings(type(before)):
        return changed(before, value)
    return _made_value(type(settings), name, value)


def _made_value(settings: type, name: str, value: Any) -> Any:
    hint = hints_of(settings).get(name)
    for mark in getattr(hint, "__metadata__", ()):
        if isinstance(mark, ReadBy):
            return mark.read(value)
    nested = nested_settings(hint)
    if nested is not None and isinstance(value, Mapping):
        return made(nested, value)
    return value
