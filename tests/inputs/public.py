"""The names of all fronts, found by reflection, with an example of each call."""

import collections.abc
import functools
import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import multinas_ray
from tests.inputs.examples import BY_CALL, BY_NAME, BY_THEMSELVES, BY_TYPE, WITHOUT_CHECKS


@dataclass(frozen=True)
class PublicCall:
    """A class or function of a front."""

    name: str
    """With its package."""
    call: Callable[..., Any]
    hints: Mapping[str, Any]
    """Type of each parameter."""
    given: Mapping[str, Any]
    """An example of each parameter that has no default, and of some others."""

    def with_value(self, parameter: str, value: Any) -> Any:
        """Call with one value in place of the example's."""
        return self.call(**{**self.given, parameter: value})


def fronts() -> list[str]:
    """Names of all packages that have a front."""
    folder = Path(multinas_ray.__file__).parent
    return [each.name for each in pkgutil.iter_modules([str(folder)]) if (folder / each.name / "__init__.pyi").exists()]


@functools.cache
def namespace() -> dict[str, Any]:
    """What annotations may name, those under TYPE_CHECKING included."""
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import pyarrow as pa
    import torch
    from rich.console import Console
    from torch import nn

    from multinas_ray import storage

    names: dict[str, Any] = {**vars(typing), **vars(collections.abc), "np": np, "npt": npt, "pd": pd, "pa": pa}
    names |= {"torch": torch, "nn": nn, "Console": Console, "NDArray": npt.NDArray, "storage": storage}
    for front in fronts():
        module = importlib.import_module(f"multinas_ray.{front}")
        names |= {name: getattr(module, name) for name in module.__all__}
    return names


def public_names() -> Iterator[tuple[str, Any]]:
    """Everything in the fronts that can be called, with its package."""
    for front in fronts():
        module = importlib.import_module(f"multinas_ray.{front}")
        yield from (
            (f"{front}.{name}", getattr(module, name)) for name in module.__all__ if is_callable(getattr(module, name))
        )


def public_calls() -> Iterator[PublicCall]:
    """All classes and functions of the fronts that check what they are given."""
    for name, each in public_names():
        if name not in WITHOUT_CHECKS and (is_checked(each) or name in BY_THEMSELVES):
            yield public_call(name, each)


def is_checked(each: Any) -> bool:
    """Whether a class or function is under one of the decorators of settings."""
    if inspect.isclass(each):
        return "__pydantic_config__" in vars(each) or is_checked(each.__init__)
    checking = "multinas_ray/settings/checking.py"
    while hasattr(each, "__wrapped__"):
        if isinstance(each, types.FunctionType) and each.__code__.co_filename.endswith(checking):
            return True
        each = each.__wrapped__
    return False


def is_callable(each: Any) -> bool:
    """Whether something of a front is a function, or a class that makes objects."""
    if inspect.isclass(each):
        is_made = not inspect.isabstract(each) and not getattr(each, "_is_protocol", False)
        return is_made and not issubclass(each, BaseException) and typing.get_origin(each) is None
    return isinstance(each, types.FunctionType)


def public_call(name: str, call: Callable[..., Any]) -> PublicCall:
    """A call with the examples of its parameters."""
    signature, hints = inspect.signature(call), hints_of(call)
    own = BY_CALL.get(name, {})
    given, kept = {}, {}
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kept[parameter.name] = hints.get(parameter.name, Any)
        if parameter.name in own:
            given[parameter.name] = own[parameter.name]
        elif parameter.default is parameter.empty:
            given[parameter.name] = example(name, parameter.name, kept[parameter.name])
    given |= {key: value for key, value in own.items() if key not in given}
    return PublicCall(name, call, kept, given)


def example(call: str, parameter: str, hint: Any) -> Any:
    """An example of a parameter, by its name or its type."""
    if parameter in BY_NAME:
        return BY_NAME[parameter]
    bare = bare_types(hint)
    for each in bare:
        found = example_of(each)
        if found is not None:
            return found
    if types.NoneType in bare:
        return None
    raise LookupError(f"give an example of {call}'s {parameter} ({hint}) in tests/inputs/examples.py")


def example_of(bare: Any) -> Any:
    """An example of a type; None where none can be made."""
    origin, members = typing.get_origin(bare), typing.get_args(bare)
    if origin is None and isinstance(bare, collections.abc.Hashable) and bare in BY_TYPE:
        return BY_TYPE[bare]
    if origin in (tuple, list, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection):
        items = [example("a list", "item", each) for each in members[:1]]
        return [*items] if origin is list else (*items,)
    if origin is np.ndarray and members[1:] and np.float64 not in typing.get_args(members[1]):
        (kind,) = typing.get_args(members[1])
        return np.zeros((2, 3), kind if isinstance(kind, type) else float)
    if origin in BY_TYPE:
        return BY_TYPE[origin]
    if inspect.isclass(bare) and is_callable(bare) and bare.__module__.startswith("multinas_ray"):
        package = bare.__module__.split(".")[1]
        made = public_call(f"{package}.{bare.__name__}", bare)
        return made.call(**made.given)
    return None


def bare_types(hint: Any) -> list[Any]:
    """A type without marks, and the members of a union."""
    if typing.get_origin(hint) is typing.Annotated:
        return bare_types(typing.get_args(hint)[0])
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [bare for each in typing.get_args(hint) for bare in bare_types(each)]
    origin = typing.get_origin(hint)
    return [hint] if origin is None else [hint, origin]


def hints_of(call: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters, as far as they can be found."""
    whole = inspect.unwrap(call)
    sources = [each for each in reversed(call.__mro__) if each is not object] if inspect.isclass(call) else [whole]
    if inspect.isclass(call):
        sources += [inspect.unwrap(call.__init__)] if isinstance(call.__init__, types.FunctionType) else []
    hints: dict[str, Any] = {}
    for source in sources:
        module = inspect.getmodule(source)
        known = {**namespace(), **(vars(module) if module else {})}
        for name, text in getattr(source, "__annotations__", {}).items():
            if name == "return":
                continue
            try:
                hints[name] = eval(text, known) if isinstance(text, str) else text
            except NameError:
                hints[name] = Any
    return hints
