"""Flags and configuration files of settings: names, types, choices, defaults and help come from the fields.

A field `batch_size` has the flag --batch-size. So has a field of nested settings, unless another field has the same
name; then its flag is --training.batch-size. The keys of a file are the names of the fields, and nested settings are
mappings. Flags override the file, and the file overrides the defaults.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.settings import Flag, OneOf, changed, hints_of, made, nested_settings

Settings = TypeVar("Settings")

CONFIG_HELP = "YAML file of settings by the names of their fields; flags override it"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A field that a flag can set."""

    path: tuple[str, ...]
    """The names from the outer settings to the field."""
    owner: type
    """The class that has the field."""
    hint: Any
    """The type of the field, without marks and without None."""
    is_optional: bool
    """Whether the field may be None."""
    default: Any
    """The default; `dataclasses.MISSING` if there is none, or if it is made anew for each object."""
    mark: Flag
    """The mark that changes the flag of the field."""

    @property
    def flag(self) -> str:
        """The flag of the field, if no other field has the same."""
        return f"--{self.mark.name or self.path[-1].replace('_', '-')}"

    @property
    def dest(self) -> str:
        """The name of the field among the parsed arguments."""
        return ".".join(self.path)


def settings_of(owner: type, path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """The fields of a class of settings, nested ones included, whose values can be written as text."""
    hints = hints_of(owner)
    for field in dataclasses.fields(owner):
        hint, marks, is_optional = _bare(hints[field.name])
        nested = nested_settings(hint)
        if nested is not None:
            yield from settings_of(nested, (*path, field.name))
        elif _is_text(hint):
            yield Setting(
                path=(*path, field.name),
                owner=owner,
                hint=hint,
                is_optional=is_optional,
                default=field.default,
                mark=next((mark for mark in marks if isinstance(mark, Flag)), Flag()),
            )


def add_settings(parser: argparse.ArgumentParser, owners: Mapping[str, type], *, tells_defaults: bool = True) -> None:
    """Add --config and a flag for each field.

    Args:
        parser: the parser of the command.
        owners: the classes of settings, by the titles of their flags in the help text. Nested settings have groups of
            their own. A field with the same path in two classes has one flag.
        tells_defaults: whether the help shows the defaults of the fields; False if something else decides them.
    """
    parser.add_argument("--config", metavar="FILE.yaml", help=CONFIG_HELP)
    groups: dict[str, argparse._ArgumentGroup] = {}
    settings = {setting.path: (title, setting) for title, owner in owners.items() for setting in settings_of(owner)}
    flags: set[str] = set()
    for path, (title, setting) in sorted(settings.items(), key=lambda item: len(item[0])):
        outer = ".".join(path[:-1])
        group = groups.get(outer or title)
        if group is None:
            group = groups[outer or title] = parser.add_argument_group(outer or title)
        flag = f"--{outer}.{setting.flag[2:]}" if setting.flag in flags else setting.flag
        flags.add(flag)
        _add_flag(group, flag, setting, _help_of(setting, tells_defaults))


def _help_of(setting: Setting, tells_defaults: bool) -> str:
    text = _docstrings(setting.owner).get(setting.path[-1], "").rstrip(".")
    if names := _names(setting.hint):
        text = f"{text}, of {', '.join(names)}"
    if tells_defaults and setting.default not in (None, dataclasses.MISSING, ()):
        text = f"{text} (default: {_told(setting.default)})"
    return text.replace("%", "%%")


def given_settings(arguments: argparse.Namespace, owner: type) -> dict[str, Any]:
    """The values that flags have set, as plain data by field; nested settings are mappings."""
    given: dict[str, Any] = {}
    for setting in settings_of(owner):
        if setting.dest not in arguments:
            continue
        value, inner = getattr(arguments, setting.dest), given
        for name in setting.path[:-1]:
            inner = inner.setdefault(name, {})
        if _is_mapping(setting.hint):
            inner[setting.path[-1]] = _joined(value, setting.flag)
        elif isinstance(value, Mapping):
            names = {field.name for field in dataclasses.fields(setting.owner)}
            inner.update({name: each for name, each in value.items() if name in names})
        else:
            inner[setting.path[-1]] = value
    return given


def read_settings(arguments: argparse.Namespace, owner: type[Settings]) -> Settings:
    """Read the settings of a command, in which flags override the file and the file overrides the defaults.

    Raises:
        ConfigError: a key is unknown, or a value breaks its rule; the line names the file if the fault is there.
    """
    settings = made(owner, {})
    if arguments.config is not None:
        with errors_name(arguments.config):
            settings = changed(settings, read_file(arguments.config))
    return changed(settings, given_settings(arguments, owner))


def read_file(file: str) -> dict[str, Any]:
    """The content of a configuration file.

    Raises:
        ConfigError: it is no YAML of names and values.
        StateError: it cannot be read.
    """
    from multinas_ray.storage import read_yaml

    return read_yaml(file)


@contextmanager
def errors_name(file: str) -> Iterator[None]:
    """Errors of the settings within name the file that they come from."""
    try:
        yield
    except (ConfigError, StateError) as error:
        raise error if file in str(error) else type(error)(f"{file}: {error}") from None


def _bare(hint: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """Return a type without its marks and None, its marks, and whether None is allowed."""
    marks: tuple[Any, ...] = ()
    is_optional = False
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            hint, *found = typing.get_args(hint)
            marks = (*marks, *found)
            continue
        members = typing.get_args(hint)
        if typing.get_origin(hint) in (typing.Union, types.UnionType) and types.NoneType in members:
            is_optional = True
            hint = functools.reduce(lambda a, b: a | b, [each for each in members if each is not types.NoneType])
            continue
        return hint, marks, is_optional


def _is_text(hint: Any) -> bool:
    """Whether a value of this type can be written as the text of a flag."""
    if _is_mapping(hint):
        return True
    if _is_list(hint):
        return _is_text(_item(hint))
    return hint in (bool, int, float, str) or typing.get_origin(hint) is typing.Literal


def _is_list(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Collection) and not issubclass(origin, Mapping)


def _is_mapping(hint: Any) -> bool:
    """Whether the type maps names to numbers, written as NAME=VALUE[,VALUE...]."""
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _item(hint: Any) -> Any:
    return _bare(typing.get_args(hint)[0])[0]


def _names(hint: Any) -> tuple[str, ...] | None:
    """The names of which the items of a list must be; None where there are no such names."""
    marks = _bare(typing.get_args(hint)[0])[1] if _is_list(hint) else ()
    return next((mark.names for mark in marks if isinstance(mark, OneOf)), None)


def _add_flag(group: argparse._ArgumentGroup, flag: str, setting: Setting, text: str) -> None:
    hint = setting.hint
    common: dict[str, Any] = {"dest": setting.dest, "default": argparse.SUPPRESS, "help": text}
    if hint is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **common)
    elif _is_mapping(hint):
        pair = _option if typing.get_args(hint)[1] is Any else _pair
        group.add_argument(flag, action="append", type=pair, metavar="NAME=VALUE[,VALUE...]", **common)
    elif _is_list(hint):
        item = _item(hint)
        common |= {"metavar": setting.mark.metavar or _metavar(item), "choices": _names(hint)}
        may_be_empty = isinstance(setting.default, tuple) and setting.default  # the flag alone empties the default
        number = "*" if may_be_empty else "+"
        group.add_argument(flag, nargs=number, action="extend", type=_reader(item, False), **common)
    elif typing.get_origin(hint) is typing.Literal:
        group.add_argument(flag, choices=typing.get_args(hint), **common)
    else:
        read = setting.mark.read or _reader(hint, setting.is_optional)
        group.add_argument(flag, type=read, metavar=setting.mark.metavar or _metavar(hint), **common)


def _metavar(hint: Any) -> str:
    return {int: "N", float: "X"}.get(hint, "TEXT")


def _reader(kind: type, is_optional: bool) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        return None if is_optional and kind is not str and text == "none" else kind(text)

    read.__name__ = {int: "whole number", float: "number"}.get(kind, kind.__name__)  # for argparse's errors
    return read


def _pair(text: str) -> tuple[str, Any]:
    """A name and its number, or a list of them."""
    name, equals, values = text.partition("=")
    try:
        numbers = [_number(value) for value in values.split(",")]
    except ValueError:
        numbers = []
    if not name or not equals or not numbers:
        raise argparse.ArgumentTypeError(f"give NAME=VALUE or NAME=VALUE,VALUE, such as params=2e6, not {text!r}")
    return name, numbers if len(numbers) > 1 else numbers[0]


def _option(text: str) -> tuple[str, Any]:
    """A name and its number, list of numbers or text."""
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise argparse.ArgumentTypeError(f"give NAME=VALUE, not {text!r}")
    try:
        return _pair(text)
    except argparse.ArgumentTypeError:
        return name, value


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _joined(pairs: Sequence[tuple[str, Any]], flag: str) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ConfigError(f"{flag} takes each name once: give several values as NAME=VALUE,VALUE")
    return values


def _told(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@functools.cache
def _docstrings(owner: type) -> dict[str, str]:
    """The docstrings of the fields of a class and of its base classes, each in one line."""
    texts: dict[str, str] = {}
    for each in reversed(owner.__mro__[:-1]):
        tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
        body = typing.cast(ast.ClassDef, tree.body[0]).body
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                name = typing.cast(ast.Name, field.target).id
                texts[name] = " ".join(str(text.value.value).replace("`", "").split())
    return texts
