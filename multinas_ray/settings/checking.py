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
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from multinas_ray.errors import ConfigError
from multinas_ray.settings.faults import checked_names, config_error
from multinas_ray.settings.marks import AsGiven, Unchecked, hints_of
from multinas_ray.settings.plain import argument, plain

if TYPE_CHECKING:
    from pydantic import ConfigDict, TypeAdapter

Class = TypeVar("Class", bound=type)
Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

KINDS = {"bool": "b", "bool_": "b", "int64": "iu", "float64": "iuf", "uint8": "u"}
"""Numpy's letters for the kinds of numbers that an array of a type may hold when it is given."""
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
        _check_kinds(settings, dict(zip(names, row, strict=False)) | named)
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

        unchecked = _unchecked(function)
        _check_kinds(function, dict(zip(names, row, strict=False)) | named)
        given = {name: value if name in unchecked else argument(value) for name, value in named.items()}
        first = [
            value if name in unchecked else argument(value)
            for name, value in zip(itertools.chain(names, itertools.repeat("")), row, strict=False)
        ]
        try:
            returned: Returned = _validated(function)(*first, **given)
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

    return validate_call(config=STRICT)(_without_return(function))


def _without_return(function: Callable[..., Returned]) -> Callable[..., Returned]:
    """The same function without the type of what it returns, which may be known to the type checker alone."""
    assert isinstance(function, types.FunctionType)
    same = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    functools.update_wrapper(same, function)
    del vars(same)["__wrapped__"]
    same.__kwdefaults__ = function.__kwdefaults__
    same.__annotations__ = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    return same


def _check_kinds(owner: Any, given: Mapping[str, Any]) -> None:
    """Check what pydantic does not: that arrays hold the numbers and functions take the arguments that types name.

    Raises:
        ConfigError: One does not.
    """
    for name, (wanted, kinds) in _array_kinds(owner).items():
        found = getattr(given.get(name), "dtype", None)
        if found is not None and found.kind not in kinds and given[name].size:
            raise ConfigError(f"{_told(owner)}: {name} must be an array of {wanted}, got one of {found}")
    for name, number in _argument_counts(owner).items():
        signature = _signature_of(given[name]) if callable(given.get(name)) else None
        if signature is not None and not _takes(signature, number):
            wanted = f"a function of {number} argument(s)"
            raise ConfigError(f"{_told(owner)}: {name} must be {wanted}, got one of {signature}")


def _told(owner: Any) -> str:
    """The name of a class or function in messages."""
    name: str = owner.__qualname__
    return name.removesuffix(".__init__").rpartition(".")[2]


def _signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # it is written in C and does not tell
        return None


def _takes(signature: inspect.Signature, number: int) -> bool:
    try:
        signature.bind(*[None] * number)
    except TypeError:
        return False
    return True


@functools.cache
def _argument_counts(owner: Any) -> dict[str, int]:
    """The number of arguments that a function must take, by field or argument."""
    counts = {}
    for name, hint in hints_of(owner).items():
        for each in (hint, *typing.get_args(hint)):
            arguments = typing.get_args(each)[:1] if typing.get_origin(each) is Callable else ()
            if arguments and isinstance(arguments[0], list):
                counts[name] = len(arguments[0])
    return counts


@functools.cache
def _array_kinds(owner: Any) -> dict[str, tuple[str, str]]:
    """The type of an array's numbers, and numpy's letters of the kinds that fit it, by field or argument."""
    found = {}
    for name, hint in hints_of(owner).items():
        for each in (hint, *typing.get_args(hint)):
            types_of = typing.get_args(typing.get_args(each)[1]) if "ndarray" in str(typing.get_origin(each)) else ()
            wanted = getattr(types_of[0], "__name__", "") if types_of else ""
            if wanted in KINDS:
                found[name] = (wanted, KINDS[wanted])
    return found


@functools.cache
def _unchecked(owner: Any) -> frozenset[str]:
    """Names of the fields or arguments that are passed on as they are: arrays, and what is marked so."""
    return frozenset(name for name, hint in hints_of(owner).items() if hint is Any or _is_kept(hint))


def _is_kept(hint: Any) -> bool:
    numpy = sys.modules.get("numpy")
    if numpy is not None and numpy.ndarray in (hint, typing.get_origin(hint)):
        return True
    return isinstance(hint, (AsGiven, Unchecked)) or any(map(_is_kept, typing.get_args(hint)))
