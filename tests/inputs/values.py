"""Values that do not fit a type, and values that fit it and are absurd."""

import collections.abc
import inspect
import math
import os
import types
import typing
from typing import Annotated, Any, Literal

import annotated_types
import numpy as np

from multinas_ray.settings import InfinityAllowed, OneOf, Unchecked

ABSURD: dict[str, Any] = {
    "zero": 0,
    "minus one": -1,
    "a thousand million": 10**9,
    "more than 64 bits": 10**30,
    "0.0": 0.0,
    "-1.5": -1.5,
    "largest float": 1.7e308,
    "least float": 5e-324,
    "no text": "",
    "NUL": "a\0b",
    "escape": "\x1b[31mred",
    "two lines": "a\nb",
    "long": "a" * 5000,
    "surrogate": "\udcff",
    "up": "../up",
    "empty list": [],
    "equal items": [1, 1],
    "equal texts": ["a", "a"],
    "empty mapping": {},
    "empty array": np.zeros(0),
    "array of no rows": np.zeros((0, 3), int),
}
STRANGE: dict[str, Any] = {
    "None": None,
    "True": True,
    "text": "text",
    "bytes": b"bytes",
    "number": 3,
    "fraction": 2.5,
    "NaN": math.nan,
    "infinity": math.inf,
    "complex": 1j,
    "list of text": ["text"],
    "list of NaN": [math.nan],
    "list of None": [None],
    "mapping": {"a": "b"},
    "keys are numbers": {3: 1.0},
    "object": types.SimpleNamespace(),
    "class": int,
    "function": lambda: None,
    "array of text": np.array(["a", "b"]),
    "array of NaN": np.full((2, 2), math.nan),
    "nested list": [[[1]]],
}
VALUES = {**ABSURD, **STRANGE}


def fits(value: Any, hint: Any) -> bool | None:
    """Whether a value is of a type; None where that cannot be said."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if hint in (Any, collections.abc.Hashable) or isinstance(hint, (str, typing.TypeVar, typing.ForwardRef)):
        return None
    if origin is Annotated:
        return _fits_marks(value, members[0], members[1:])
    if origin in (typing.Union, types.UnionType):
        found = [fits(value, each) for each in members]
        return True if True in found else None if None in found else False
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in members)
    if hint is None or hint is types.NoneType:
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and abs(value) <= 1.8e308 and math.isfinite(value)
    if origin is np.ndarray:
        return _fits_array(value, members)
    if origin is collections.abc.Callable or hint is collections.abc.Callable:
        return callable(value)
    if isinstance(origin, type) and issubclass(origin, os.PathLike):
        return isinstance(value, os.PathLike)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        return _fits_all([isinstance(value, dict)], value, members)
    if isinstance(origin, type) and issubclass(origin, collections.abc.Iterable):
        return _fits_items(value, origin, members)
    kind = origin or hint
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False) or kind is object:
        return None
    return isinstance(value, kind)


def _fits_marks(value: Any, hint: Any, marks: tuple[Any, ...]) -> bool | None:
    if any(isinstance(mark, Unchecked) for mark in marks):
        return None
    may_be_infinite = any(isinstance(mark, InfinityAllowed) for mark in marks)
    if hint is float and may_be_infinite and isinstance(value, float) and not math.isfinite(value):
        return None
    found = fits(value, hint)
    if found is not True:
        return found
    for mark in marks:
        if isinstance(mark, OneOf) and value not in mark.names:
            return False
        if value is None or isinstance(value, (str, bool, dict)):
            continue
        if isinstance(mark, annotated_types.MinLen) and len(value) < mark.min_length:
            return False
        if isinstance(value, (int, float)):
            for kind, breaks in (("Ge", "__lt__"), ("Gt", "__le__"), ("Le", "__gt__"), ("Lt", "__ge__")):
                if isinstance(mark, getattr(annotated_types, kind)):
                    bound = getattr(mark, kind.lower())
                    if getattr(float(value), breaks)(float(bound)):
                        return False
    return True


def _fits_array(value: Any, members: tuple[Any, ...]) -> bool | None:
    if not isinstance(value, (np.ndarray, list)):
        return False
    kinds = {np.bool_: "b", np.int64: "biu", np.float64: "biuf", np.uint8: "u"}
    (dtype,) = typing.get_args(members[1]) if len(members) > 1 and typing.get_args(members[1]) else (Any,)
    try:
        array = np.asarray(value)
    except ValueError:
        return False
    if not array.size or dtype not in kinds:
        return None
    return None if array.dtype.kind in kinds[dtype] else False


def _fits_items(value: Any, origin: type, members: tuple[Any, ...]) -> bool | None:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    is_set = issubclass(origin, collections.abc.Set)
    if isinstance(value, (str, bytes)) or not isinstance(value, set if is_set else (list, tuple)):
        return (
            None
            if isinstance(value, dict) and origin in (collections.abc.Iterable, collections.abc.Collection)
            else False
        )
    if origin is tuple and Ellipsis not in members:
        return _every([len(value) == len(members)], zip(value, members, strict=False))
    return _every([True], ((each, members[0]) for each in value)) if members else True


def _fits_all(found: list[bool | None], value: Any, members: tuple[Any, ...]) -> bool | None:
    if False in found or not members:
        return found[0]
    pairs = [(each, members[0]) for each in value] + [(each, members[1]) for each in value.values()]
    return _every(found, pairs)


def _every(found: list[bool | None], pairs: Any) -> bool | None:
    found = [*found, *(fits(value, hint) for value, hint in pairs)]
    return False if False in found else None if None in found else True


def is_class(value: Any) -> bool:
    """Whether something of a front is a class that makes objects."""
    return inspect.isclass(value)
