"""Settings that check themselves: dataclasses and functions whose values pydantic checks strictly.

A class of settings is a frozen dataclass under one more decorator, and its bounds stand in its annotations:

    @checked
    @dataclass(frozen=True, kw_only=True)
    class Recipe:
        epochs: PositiveInt = 200
        momentum: Fraction = 0.9
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
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from multinas_ray.settings.faults import checked_names, config_error
from multinas_ray.settings.marks import Unchecked
from multinas_ray.settings.plain import argument, plain

if TYPE_CHECKING:
    from pydantic import ConfigDict, TypeAdapter

Class = TypeVar("Class", bound=type)
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

STRICT: ConfigDict = {
    "strict": True,
    "extra": "forbid",
    "arbitrary_types_allowed": True,
    "allow_inf_nan": False,
    "validate_default": True,
}


def checked(settings: Class) -> Class:
    """Make a frozen dataclass check its fields whenever an object is made; use it as a decorator above `@dataclass`.

    Args:
        settings: the dataclass. Its objects then raise a ConfigError of one line, which names the class and, for each
            field that breaks its rule, the rule and the value.

    Returns:
        The same class.
    """
    assert dataclasses.is_dataclass(settings), f"{settings.__name__} is no dataclass"
    assert settings.__dataclass_params__.frozen, f"{settings.__name__} is not frozen"  # type: ignore[attr-defined]  # of every dataclass
    settings.__pydantic_config__ = STRICT  # type: ignore[attr-defined]  # where pydantic looks for it
    checked_names.add(settings.__name__)
    names = [field.name for field in dataclasses.fields(settings) if field.init and not field.kw_only]

    @functools.wraps(settings.__init__)
    def __init__(self: Any, *row: Any, **named: Any) -> None:  # noqa: N807
        from pydantic_core import ArgsKwargs, ValidationError

        unchecked = _unchecked(settings)
        arguments = ArgsKwargs(_plain_row(row, names, unchecked), _plain_named(named, unchecked))
        try:
            _adapter(settings).validator.validate_python(arguments, self_instance=self)
        except ValidationError as error:
            raise config_error(error, settings, dict(zip(names, row, strict=False)) | named) from None

    settings.__init__ = __init__  # type: ignore[method-assign]  # a class decorator may
    return settings


def checked_arguments(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
    """Make a function check its arguments as `checked` checks fields; use it as a decorator.

    The body gets lists and mappings as they were given, with plain numbers in lists.

    Args:
        function: its calls then raise a ConfigError of one line, before its body, where an argument breaks its rule.

    Returns:
        The checked function.
    """
    names = list(function.__code__.co_varnames[: function.__code__.co_argcount])

    @functools.wraps(function)
    def call(*row: Parameters.args, **named: Parameters.kwargs) -> Returned:
        from pydantic_core import ValidationError

        try:
            given = {name: argument(value) for name, value in named.items()}
            returned: Returned = _validated(function)(*map(argument, row), **given)
        except ValidationError as error:
            raise config_error(error, function, dict(zip(names, row, strict=False)) | named) from None
        return returned

    return call


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
