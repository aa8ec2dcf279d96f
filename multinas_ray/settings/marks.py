"""What the annotations of settings are made of: bounds by name, and marks."""

from __future__ import annotations

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from annotated_types import Ge, Gt, Lt

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core.core_schema import CoreSchema

PositiveInt: TypeAlias = Annotated[int, Ge(1)]
NonNegativeInt: TypeAlias = Annotated[int, Ge(0)]
PositiveFloat: TypeAlias = Annotated[float, Gt(0)]
NonNegativeFloat: TypeAlias = Annotated[float, Ge(0)]
Fraction: TypeAlias = Annotated[float, Ge(0), Lt(1)]
"""A share in [0, 1)."""


@dataclass(frozen=True)
class Flag:
    """Mark of a field whose flag on the command line is its own: `Annotated[str, Flag("storage", metavar="DIR")]`."""

    name: str | None = None
    """The flag's name without its dashes; None for the field's."""
    metavar: str | None = None
    """What stands for the value in the help text."""
    read: Callable[[str], Any] | None = None
    """From the flag's text to the value, or to a mapping of this and other fields to their values."""


@dataclass(frozen=True)
class ReadBy:
    """Mark of a field whose value is not plain data, and is read from plain data by a function."""

    read: Callable[[Any], Any]
    """From plain data, as a file holds it, to the value."""


class OneOf:
    """Mark of a text that must be one of some names: `Annotated[str, OneOf(METHODS)]`.

    Args:
        names: The names, in the order in which help and errors list them.
    """

    def __init__(self, names: Collection[str]) -> None:
        self.names = tuple(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the names, told to pydantic."""
        from pydantic_core import core_schema

        return core_schema.literal_schema(list(self.names))


@dataclass(frozen=True)
class InfinityAllowed:
    """Mark of a float that may be infinite, but not NaN: `Annotated[float, InfinityAllowed()]`."""

    nan: bool = False
    """Whether it may be NaN too."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of the float, told to pydantic."""
        from pydantic_core import core_schema

        schema = core_schema.float_schema(allow_inf_nan=True)
        return schema if self.nan else core_schema.no_info_after_validator_function(_not_nan, schema)


Measured: TypeAlias = Annotated[float, InfinityAllowed(nan=True)]
"""A number that was measured or computed, and so may be infinite or NaN."""


class AsGiven:
    """Mark of a field that is checked and kept as it was given: `Annotated[dict[str, Any], AsGiven()]` keeps lists."""


class Unchecked:
    """Mark of a field that its class checks by itself, such as an array: `Annotated[FloatArray, Unchecked()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The schema of anything, told to pydantic."""
        from pydantic_core import core_schema

        return core_schema.any_schema()


def _not_nan(value: float) -> float:
    if math.isnan(value):
        raise ValueError("must be a number")
    return value


@functools.cache
def hints_of(owner: Any) -> Mapping[str, Any]:
    """Types of the fields of a class or of the arguments of a function, with their marks; evaluating them is slow."""
    if isinstance(owner, type):
        return typing.get_type_hints(owner, include_extras=True)
    arguments = {name: hint for name, hint in owner.__annotations__.items() if name != "return"}
    named = types.SimpleNamespace(__annotations__=arguments)
    return typing.get_type_hints(named, inspect.unwrap(owner).__globals__, include_extras=True)
