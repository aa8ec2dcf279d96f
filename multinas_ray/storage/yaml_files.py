"""Writing and reading settings as YAML files, with YAML 1.2's values and errors of one line.

PyYAML reads YAML 1.1, where `1e-4` is text, `no` is False and `4:8` is 248. Here numbers are what Python and JSON call
numbers, and only true and false are truth values.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import yaml

from multinas_ray.errors import ConfigError
from multinas_ray.storage.files import read_bytes, write_atomic
from multinas_ray.storage.places import AnyPath, resolve

_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_VALUES = (
    ("tag:yaml.org,2002:null", re.compile(r"~|null|Null|NULL|"), [*"~nN", ""]),
    ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), [*"tTfF"]),
    ("tag:yaml.org,2002:int", _INT, [*"-+0123456789"]),
    ("tag:yaml.org,2002:float", _FLOAT, [*"-+.0123456789"]),
)
"""The meaning of plain scalars, with their first characters, by the core schema of YAML 1.2."""


_KINDS = (None, *(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")))
"""Tags of the values that settings have; None stands for all other tags, which are refused."""


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - as PyYAML declares it
    yaml_constructors: ClassVar = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in _KINDS}


class _Dumper(yaml.SafeDumper):
    """Quotes text that either version of YAML would not read as text."""


for _tag, _pattern, _first in _VALUES:
    _whole = re.compile(f"^(?:{_pattern.pattern})$")
    _Loader.add_implicit_resolver(_tag, _whole, _first)
    _Dumper.add_implicit_resolver(_tag, _whole, _first)


def _construct_int(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is not text", key_node.start_mark)
        if key in mapping:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key} occurs twice", key_node.start_mark)
        mapping[key] = loader.construct_object(value_node, deep=True)
    return mapping


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def read_yaml(path: AnyPath) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Args:
        path: the file, local or a URI.

    Returns:
        Its keys and values: None, bool, int, float, str, lists and dicts.

    Raises:
        ConfigError: It is not YAML, a key is there twice, or it is no mapping; one line with the file and the place.
        StateError: It is not there or cannot be read.
    """
    place = resolve(path)
    data = read_bytes(place)
    try:
        value = yaml.load(data.decode(), _Loader)
        json.dumps(value)  # an anchor can make a value hold itself
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{place} is not readable as YAML: {_told(error)}") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{place} must hold settings as `name: value`, one per line; it holds {type(value).__name__}")
    return value


def write_yaml(path: AnyPath, values: Mapping[str, Any], *, comment: str = "") -> None:
    """Write a YAML file, durable on return, from which `read_yaml` returns the same values.

    Args:
        path: the file, local or a URI; its folder exists.
        values: plain data.
        comment: lines for its head, without number signs.
    """
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    write_atomic(path, (head + yaml_text(values)).encode())


def yaml_text(values: Mapping[str, Any]) -> str:
    """Plain data as YAML, with one setting per line and deeper levels in brackets."""
    return "".join(_entry(name, value) for name, value in values.items())


def _entry(name: str, value: Any) -> str:
    inner = value.values() if isinstance(value, Mapping) else ()
    is_deep = isinstance(value, list) or any(isinstance(each, (Mapping, list)) for each in inner)
    flow = None if is_deep else False  # None: the innermost lists and mappings are in brackets
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 120, "default_flow_style": flow}
    text: str = yaml.dump({name: value}, Dumper=_Dumper, **options)
    return text


def _told(error: Exception) -> str:
    """The cause and its place, in one line."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        return f"{error.problem or error.context}{where}"
    return " ".join(str(error).split()) or type(error).__name__
