"""Settings that check themselves: dataclasses and functions whose values pydantic checks strictly.

A class of settings is a frozen dataclass under one more decorator, and its bounds stand in its annotations:

    @checked
    @dataclass(frozen=True, kw_only=True)
    class Recipe:
        epochs: Annotated[int, Ge(1)] = 200
        gradient_clip_norm: Annotated[float, InfinityAllowed(), Gt(0)] = math.inf

Checks are strict: True is no number, "no" is neither True nor False, 2.5 is no whole number, and numbers are finite
unless `InfinityAllowed` says otherwise. A whole number stands for a float, a numpy scalar for its Python number, and
lists and arrays become tuples, so that settings can be compared and hashed. Rules between fields belong into
`__post_init__`, which runs after all fields are checked. `dataclasses.replace` checks again. pydantic is loaded when
the first object is made, so that reading a class of settings, as `--help` does, costs nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from multinas_ray.errors import ConfigError, MultiNASError

if TYPE_CHECKING:
    from pydantic import ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
    from pydantic_core import ErrorDetails
    from pydantic_core.core_schema import CoreSchema

Class = TypeVar("Class", bound=type)
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

MAX_VALUE_LENGTH = 80
"""Characters of a value that an error shows."""

STRICT: ConfigDict = {"strict": True, "extra": "forbid", "arbitrary_types_allowed": True, "allow_inf_nan": False}

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
    "dataclass_exact_type": "must be a {class_name}",
    "dataclass_type": "must be a {class_name}",
}
"""The rule that is broken, for pydantic's types of errors; its context fills the braces in."""


class InfinityAllowed:
    """Mark of a float that may be infinite, but never NaN: `Annotated[float, InfinityAllowed()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the float, told to pydantic."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(_not_nan, core_schema.float_schema(allow_inf_nan=True))


class Unchecked:
    """Mark of a field that its class checks by itself, such as an array: `Annotated[FloatArray, Unchecked()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of anything, told to pydantic."""
        from pydantic_core import core_schema

        return core_schema.any_schema()


def checked(settings: Class) -> Class:
    """Make a frozen dataclass check its fields whenever an object is made; use it as a decorator above `@dataclass`.

    Args:
        settings: the dataclass. Its objects then raise a ConfigError of one line, which names the class and, for each
            field that breaks its rule, the rule and the value.

    Returns:
        The same class.
    """
    assert dataclasses.is_dataclass(settings), f"{settings.__name__} is no dataclass"
    assert settings.__dataclass_params__.frozen, f"{settings.__name__} is not frozen"  # type: ignore[attr-defined]
    settings.__pydantic_config__ = STRICT  # type: ignore[attr-defined]
    names = [field.name for field in dataclasses.fields(settings) if field.init and not field.kw_only]

    @functools.wraps(settings.__init__)
    def __init__(self: Any, *row: Any, **named: Any) -> None:  # noqa: N807
        from pydantic_core import ArgsKwargs, ValidationError

        unchecked = _unchecked(settings)
        arguments = ArgsKwargs(_plain_row(row, names, unchecked), _plain_named(named, unchecked))
        try:
            _adapter(settings).validator.validate_python(arguments, self_instance=self)
        except ValidationError as error:
            raise _config_error(error, settings, names) from None

    settings.__init__ = __init__  # type: ignore[method-assign]
    return settings


def checked_arguments(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Make a function check its arguments as `checked` checks fields; use it as a decorator.

    Args:
        function: its calls then raise a ConfigError of one line, before its body, where an argument breaks its rule.

    Returns:
        The checked function.
    """
    names = list(function.__code__.co_varnames[: function.__code__.co_argcount])

    @functools.wraps(function)
    def call(*row: Parameters.args, **named: Parameters.kwargs) -> Returned:
        from pydantic_core import ValidationError

        unchecked = _unchecked(function)
        try:
            returned: Returned = _validated(function)(
                *_plain_row(row, names, unchecked), **_plain_named(named, unchecked)
            )
        except ValidationError as error:
            raise _config_error(error, function, names) from None
        return returned

    return call


def plain(value: Any) -> Any:
    """A value as settings keep it: numpy scalars as numbers; lists, ranges and arrays as tuples, to any depth."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.generic, numpy.ndarray)):
        value = value.tolist()
    if type(value) in (list, tuple, range):
        return tuple(map(plain, value))
    if type(value) is dict:
        return {key: plain(each) for key, each in value.items()}
    return value


def _plain_row(row: Sequence[Any], names: Sequence[str], unchecked: frozenset[str]) -> tuple[Any, ...]:
    told = itertools.chain(names, itertools.repeat(""))
    return tuple(value if name in unchecked else plain(value) for name, value in zip(told, row, strict=False))


def _plain_named(named: Mapping[str, Any], unchecked: frozenset[str]) -> dict[str, Any]:
    return {name: value if name in unchecked else plain(value) for name, value in named.items()}


@functools.cache
def _adapter(settings: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(settings)


@functools.cache
def _validated(function: Callable[..., Returned]) -> Callable[..., Returned]:
    from pydantic import validate_call

    return validate_call(config=STRICT)(function)


@functools.cache
def _unchecked(owner: Any) -> frozenset[str]:
    """Names of the fields or arguments that are marked `Unchecked`."""
    hints = typing.get_type_hints(owner, include_extras=True)
    return frozenset(
        name for name, hint in hints.items() if any(isinstance(each, Unchecked) for each in typing.get_args(hint))
    )


def _not_nan(value: float) -> float:
    if math.isnan(value):
        raise ValueError("must be a number")
    return value


def _config_error(error: ValidationError, owner: Any, names: Sequence[str]) -> MultiNASError:
    """One line for all that pydantic found.

    Args:
        error: what it raised.
        owner: the class or function.
        names: of its arguments by position.
    """
    faults: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for each in error.errors(include_url=False):
        place = each["loc"]
        if place and isinstance(place[0], int) and place[0] < len(names):
            place = (names[place[0]], *place[1:])
        if len(place) > 1 and isinstance(place[1], str):  # the members of a union, told as one
            place = place[:1]
        faults.setdefault(place, []).append(each)
    texts = []
    for place, details in faults.items():
        cause = details[0].get("ctx", {}).get("error")
        if isinstance(cause, MultiNASError) and not isinstance(cause, ConfigError):
            return cause
        texts.append(str(cause) if isinstance(cause, ConfigError) else _fault(place, details, owner))
    return ConfigError(f"{owner.__name__}: {'; '.join(texts)}")


def _fault(place: tuple[int | str, ...], details: Sequence[ErrorDetails], owner: Any) -> str:
    """What is wrong at one place."""
    kind, value = details[0]["type"], details[0]["input"]
    name = "".join(f"[{each}]" if index else str(each) for index, each in enumerate(place))
    hints = typing.get_type_hints(owner)
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument", "missing_positional_only_argument"):
        return f"{name} is missing; it has no default"
    if kind == "unexpected_keyword_argument":
        import difflib

        close = difflib.get_close_matches(name, hints, n=1)
        return f"{name} is unknown; " + (f"is {close[0]} meant?" if close else f"known are {', '.join(hints)}")
    if kind == "unexpected_positional_argument":
        return f"{_shown(value)} is one argument too many; name the arguments"
    if kind == "multiple_argument_values":
        return f"{name} is given twice"
    rules = list(dict.fromkeys(_rule(each) for each in details))
    if len(place) == 1 and NoneType in typing.get_args(hints.get(name)):
        rules.append("None")
    return f"{name} {' or '.join(rules)}, got {_shown(value)}"


def _rule(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "literal_error":
        return f"must be one of {context['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    if kind == "is_instance_of":
        return "must be a list" if context["class"] == "Sequence" else f"must be a {context['class']}"
    if kind == "greater_than" and context["gt"] == 0:
        return "must be positive"
    if kind == "value_error":
        return str(context["error"])
    if kind in RULES:
        numbers = {name: f"{each:.10g}" if isinstance(each, float) else each for name, each in context.items()}
        return RULES[kind].format(**numbers)
    return detail["msg"].replace("Input should", "must", 1)


def _shown(value: Any) -> str:
    """A value in one short line."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a whole number of thousands of digits
        text = "an int too long to show"
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[: MAX_VALUE_LENGTH - 3]}..."
