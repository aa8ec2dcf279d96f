"""What is wrong with a value, in words: pydantic's findings as one line."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any

from annotated_types import Ge, Gt, Le, Lt

from multinas_ray.errors import ConfigError, MultiNASError
from multinas_ray.settings.marks import hints_of
from multinas_ray.settings.plain import plain

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

MAX_VALUE_LENGTH = 80
"""Characters of a value that an error shows."""

RULES = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be True or False",
    "string_type": "must be text",
    "none_required": "must be None",
    "finite_number": "must be finite",
    "callable_type": "must be a function",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "sequence_str": "must be a list",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
}
"""The rule that is broken, for pydantic's types of errors; its context fills the braces in."""

BOUNDS = ("greater_than_equal", "greater_than", "less_than_equal", "less_than")


checked_names: set[str] = set()
"""Names of all classes of settings."""


def config_error(error: ValidationError, owner: Any, given: Mapping[str, Any]) -> MultiNASError:
    """One line for all that pydantic found.

    Args:
        error: what it raised.
        owner: the class or function.
        given: its arguments by name, those given by position first.
    """
    faults: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    found = error.errors(include_url=False)
    surplus = [each for each in found if each["type"] == "unexpected_positional_argument"]
    for each in surplus or found:
        faults.setdefault(_place(each["loc"], given), []).append(each)
    texts = []
    for place, details in faults.items():
        if any(other[: len(place)] == place for other in faults if len(other) > len(place)):
            continue  # a union's member that the value was not meant for
        cause = details[0].get("ctx", {}).get("error")
        if not isinstance(cause, MultiNASError):
            texts.append(_fault(place, details, owner))
        elif isinstance(cause, ConfigError):
            name, _, text = str(cause).partition(": ")
            texts.append(text if name in checked_names else str(cause))
        else:
            return cause
    name = owner.__qualname__.removesuffix(".__init__").rpartition(".")[2]
    return ConfigError(f"{name}: {'; '.join(texts)}")


def _place(path: tuple[int | str, ...], given: Mapping[str, Any]) -> tuple[int | str, ...]:
    """Name of an argument, then indices and keys into its value; pydantic's path names a union's members too."""
    first, *others = path or ("",)
    if isinstance(first, int) and first < len(given):
        first = list(given)[first]
    value, place = plain(given.get(str(first))), [first]
    for key in others:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, tuple) and isinstance(key, int):
            value = value[key] if key < len(value) else None
        else:
            continue
        place.append(key)
    return tuple(place)


def _fault(place: tuple[int | str, ...], details: Sequence[ErrorDetails], owner: Any) -> str:
    """What is wrong at one place."""
    kind, value = details[0]["type"], details[0]["input"]
    name = "".join(f"[{each}]" if index else str(each) for index, each in enumerate(place))
    if not name:
        return _rule(details[0])
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument", "missing_positional_only_argument"):
        return f"{name} is missing" + ("" if len(place) > 1 else "; it has no default")
    if kind == "unexpected_keyword_argument":
        return _unknown(name, owner)
    if kind == "unexpected_positional_argument":
        return f"{_shown(value)} is one argument too many by position: give arguments by name"
    if kind == "multiple_argument_values":
        return f"{name} is given twice"
    rules = list(dict.fromkeys(_rule(each) for each in details))
    if len(place) == 1:
        rules = [_range(owner, name) or rules[0]] if kind in BOUNDS else rules
        rules += ["None"] if _may_be_none(hints_of(owner).get(name)) else []
    return f"{name} {' or '.join(rules)}, got {_shown(value)}"


def _may_be_none(hint: Any) -> bool:
    bare = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    return NoneType in typing.get_args(bare)


def _unknown(name: str, owner: Any) -> str:
    import difflib

    is_class = isinstance(owner, type)
    known = [each.name for each in dataclasses.fields(owner)] if is_class else list(hints_of(owner))
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name} is unknown; " + (f"is {close[0]} meant?" if close else f"known are {', '.join(known)}")


def _rule(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        return f"must be one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    if kind == "is_instance_of":
        return "must be a list" if context["class"] == "Sequence" else f"must be {_with_article(context['class'])}"
    if kind in ("dataclass_exact_type", "dataclass_type"):
        return f"must be {_with_article(context['class_name'])}"
    if kind == "greater_than" and context["gt"] == 0:
        return "must be positive"
    if kind == "value_error":
        return str(context["error"])
    if kind in RULES:
        numbers = {name: f"{each:.10g}" if isinstance(each, float) else each for name, each in context.items()}
        return RULES[kind].format(**numbers)
    return detail["msg"].replace("Input should", "must", 1)


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _range(owner: Any, name: str) -> str | None:
    """The rule of a field with bounds on both sides, such as "must be in [0, 1)"."""
    hint = hints_of(owner)[name]
    marks = [mark for part in (hint, *typing.get_args(hint)) for mark in getattr(part, "__metadata__", ())]
    low = [f"[{mark.ge}" if isinstance(mark, Ge) else f"({mark.gt}" for mark in marks if isinstance(mark, (Ge, Gt))]
    high = [f"{mark.le}]" if isinstance(mark, Le) else f"{mark.lt})" for mark in marks if isinstance(mark, (Le, Lt))]
    return f"must be in {low[0]}, {high[0]}" if low and high else None


def _shown(value: Any) -> str:
    """A value in one short line."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a whole number of thousands of digits
        text = "an int too long to show"
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 3]}..."
