import copy
import dataclasses
import math
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Lt

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.settings import InfinityAllowed, OneOf, Unchecked, checked, checked_arguments


@checked
@dataclass(frozen=True, kw_only=True)
class Recipe:
    epochs: Annotated[int, Ge(1)] = 10
    rate: Annotated[float, Gt(0)] = 0.1
    decay: Annotated[float, Ge(0), Lt(1)] = 0.0
    clip: Annotated[float, InfinityAllowed(), Gt(0)] = math.inf
    bound: Annotated[float, InfinityAllowed()] = 0.0
    augment: bool = True
    precision: Literal["float32", "bfloat16"] = "float32"
    parts: tuple[Annotated[str, OneOf({"stem": 1, "head": 2})], ...] = ()
    threads: Annotated[int, Ge(1)] | None = None
    targets: Sequence[float] | None = None
    complexity: str | Callable[[int], float] = "params"

    def __post_init__(self) -> None:
        if self.epochs == 13:
            raise ConfigError("epochs must not be 13, got 13; set it to 14")
        if self.epochs == 17:
            raise StateError("the record of 17 epochs is damaged")


@checked
@dataclass(frozen=True)
class Layer:
    name: str
    sizes: tuple[int, ...] = ()
    recipe: Recipe = field(default_factory=Recipe)
    table: Annotated[Any, Unchecked()] = None


@checked
@dataclass(frozen=True)
class NamedLayer(Layer):
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class PlainRecipe(Recipe):
    pass


WRONG = [
    ({"epochs": 2.5}, "epochs must be a whole number, got 2.5"),
    ({"epochs": 2.0}, "epochs must be a whole number, got 2.0"),
    ({"epochs": True}, "epochs must be a whole number, got True"),
    ({"epochs": np.True_}, "epochs must be a whole number, got True"),
    ({"epochs": "3"}, "epochs must be a whole number, got '3'"),
    ({"epochs": None}, "epochs must be a whole number, got None"),
    ({"epochs": 0}, "epochs must be at least 1, got 0"),
    ({"epochs": -(10**5000)}, "epochs must be at least 1, got an int too long to show"),
    ({"parts": ["stem", "neck"]}, "parts[1] must be one of stem, head, got 'neck'"),
    ({"rate": "0.1"}, "rate must be a number, got '0.1'"),
    ({"rate": False}, "rate must be a number, got False"),
    ({"rate": 0.0}, "rate must be positive, got 0.0"),
    ({"rate": math.nan}, "rate must be finite, got nan"),
    ({"rate": np.float32("nan")}, "rate must be finite, got nan"),
    ({"rate": math.inf}, "rate must be finite, got inf"),
    ({"rate": 10**400}, "rate must be a number, got 1000"),
    ({"decay": 1}, "decay must be in [0, 1), got 1"),
    ({"clip": math.nan}, "clip must be a number, got nan"),
    ({"clip": "inf"}, "clip must be a number, got 'inf'"),
    ({"clip": None}, "clip must be a number, got None"),
    ({"bound": math.nan}, "bound must be a number, got nan"),
    ({"augment": "no"}, "augment must be True or False, got 'no'"),
    ({"augment": 1}, "augment must be True or False, got 1"),
    ({"augment": None}, "augment must be True or False, got None"),
    ({"precision": "float16"}, "precision must be one of float32, bfloat16, got 'float16'"),
    ({"precision": ["float32"]}, "precision must be one of float32, bfloat16, got ('float32',)"),
    ({"threads": 0}, "threads must be at least 1 or None, got 0"),
    ({"threads": 1.5}, "threads must be a whole number or None, got 1.5"),
    ({"targets": 3}, "targets must be a list or None, got 3"),
    ({"targets": "12"}, "targets must be a list or None, got '12'"),
    ({"targets": {1: 2}}, "targets must be a list or None, got {1: 2}"),
    ({"targets": iter([1.0])}, "targets must be a list or None, got <list_iterator"),
    ({"targets": [1, "2"]}, "targets[1] must be a number, got '2'"),
    ({"targets": [1, math.nan]}, "targets[1] must be finite, got nan"),
    ({"complexity": 3}, "complexity must be text or must be a function, got 3"),
    ({"complexity": lambda: 1.0}, "complexity must be a function of 1 argument(s), got one of ()"),
    ({"complexity": lambda a, b: 1.0}, "complexity must be a function of 1 argument(s), got one of (a, b)"),
    ({"epoch": 3}, "epoch is unknown; is epochs meant?"),
    ({"zzz": 3}, "zzz is unknown; known are epochs, rate, decay"),
    ({"epochs": 13}, "epochs must not be 13, got 13; set it to 14"),
    ({"epochs": 2.5, "rate": "x"}, "epochs must be a whole number, got 2.5; rate must be a number, got 'x'"),
]


@pytest.mark.parametrize(("fields", "told"), WRONG, ids=[told[:50] for _, told in WRONG])
def test_a_wrong_value_is_told_in_one_line(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Recipe(**fields)
    assert str(raised.value).startswith(f"Recipe: {told}")
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400
    assert raised.value.__cause__ is None


def test_right_values_are_kept() -> None:
    given: dict[str, Any] = {
        "epochs": np.int32(3),
        "rate": 1,
        "decay": np.float32(0.5),
        "clip": math.inf,
        "bound": -math.inf,
        "augment": np.bool_(False),
        "targets": np.array([1, 2]),
        "complexity": float,
    }
    wanted = {**given, "epochs": 3, "rate": 1.0, "decay": 0.5, "augment": False, "targets": (1.0, 2.0)}
    kept = {name: getattr(Recipe(**given), name) for name in given}
    assert kept == wanted
    assert {name: type(each) for name, each in kept.items()} == {name: type(each) for name, each in wanted.items()}
    assert Recipe(targets=[1, 2]).targets == (1.0, 2.0)
    assert Recipe(targets=range(2)).targets == (0.0, 1.0)
    assert Recipe().threads is None


def test_every_default_keeps_its_rule() -> None:
    Recipe(**{each.name: getattr(Recipe(), each.name) for each in dataclasses.fields(Recipe)})


def test_an_error_of_another_kind_passes() -> None:
    with pytest.raises(StateError, match=r"^the record of 17 epochs is damaged$"):
        Recipe(epochs=17)


def test_positions_and_names_may_be_mixed() -> None:
    layer = Layer("first", (1, 2), recipe=Recipe(epochs=2))
    assert layer == Layer(name="first", sizes=(1, 2), recipe=Recipe(epochs=2))
    assert NamedLayer("first", (1,), Recipe(), None, "title").title == "title"


@pytest.mark.parametrize(
    ("row", "named", "told"),
    [
        ((), {}, "Layer: name is missing; it has no default"),
        (
            (),
            {"name": "a", "sizes": 1, "b": 2},
            "Layer: sizes must be a list, got 1; b is unknown; known are name, sizes, recipe, table",
        ),
        (("a", 3), {}, "Layer: sizes must be a list, got 3"),
        (("a", (1, 2.5)), {}, "Layer: sizes[1] must be a whole number, got 2.5"),
        (("a", (), {"epochs": 1}), {}, "Layer: recipe must be a Recipe, got {'epochs': 1}"),
        (("a", (), None), {}, "Layer: recipe must be a Recipe, got None"),
        (("a",), {"name": "b"}, "Layer: name is given twice"),
        (("a", (), Recipe(), None, 4), {}, "Layer: 4 is one argument too many by position: give arguments by name"),
    ],
)
def test_wrong_arguments_by_position_are_told_by_name(row: Any, named: Any, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Layer(*row, **named)
    assert str(raised.value) == told


def test_a_subclass_of_the_wanted_settings_is_one_of_them() -> None:
    assert isinstance(Layer("a", recipe=PlainRecipe()).recipe, PlainRecipe)


def test_an_unchecked_field_is_left_as_it_is() -> None:
    table = np.zeros(3)
    assert Layer("a", table=table).table is table
    assert Layer("a", (), Recipe(), table).table is table


def test_changing_checks_again() -> None:
    layer = Layer("a")
    assert dataclasses.replace(layer, name="b") == Layer("b")
    with pytest.raises(ConfigError, match=r"^Layer: name must be text, got 3$"):
        dataclasses.replace(layer, name=3)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.name = "b"  # type: ignore[misc]  # wrong on purpose


def test_settings_are_compared_hashed_copied_and_pickled() -> None:
    sizes: Any = [1, 2]
    layer = Layer("a", sizes, Recipe(targets=[1, 2]))
    assert hash(layer) == hash(Layer("a", (1, 2), Recipe(targets=(1.0, 2.0))))
    assert pickle.loads(pickle.dumps(layer)) == copy.deepcopy(layer) == layer
    assert dataclasses.asdict(layer)["recipe"]["targets"] == (1.0, 2.0)


@checked_arguments
def choose(
    path: str, limits: Mapping[str, float | Sequence[float]] | None = None, *, workers: Annotated[int, Ge(1)] = 1
) -> tuple[Any, ...]:
    if path == "bad":
        raise KeyError(path)
    return path, limits, workers


def test_arguments_are_checked_before_the_body() -> None:
    two: Any = np.int64(2)
    assert choose("a", {"params": 3}, workers=two) == ("a", {"params": 3.0}, 2)
    assert choose("a", {"params": [1, 2]}) == ("a", {"params": [1.0, 2.0]}, 1)
    with pytest.raises(KeyError):
        choose("bad")


@pytest.mark.parametrize(
    ("row", "named", "told"),
    [
        ((3,), {}, "choose: path must be text, got 3"),
        ((), {}, "choose: path is missing; it has no default"),
        (("a", 3), {}, "choose: limits must be a mapping or None, got 3"),
        (("a",), {"limits": {"params": "1"}}, "choose: limits[params] must be a number or must be a list, got '1'"),
        (
            ("a",),
            {"limits": {"params": [1, "2"]}},
            "choose: limits[params][1] must be a number, got '2'",
        ),
        (("a",), {"workers": 0}, "choose: workers must be at least 1, got 0"),
        (("a",), {"worker": 1}, "choose: worker is unknown; is workers meant?"),
        (("a", None, 3), {}, "choose: 3 is one argument too many by position: give arguments by name"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(row: Any, named: Any, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        choose(*row, **named)
    assert str(raised.value) == told


class Chooser:
    @checked_arguments
    def __init__(self, rates: Sequence[Annotated[float, InfinityAllowed(nan=True)]], space: dict[str, Any]) -> None:
        self.rates, self.space = rates, space


def test_a_constructor_is_told_by_its_class() -> None:
    rates: Any = np.array([1, math.nan])
    chooser = Chooser(rates, {"a": [1, 2], "b": rates})
    assert chooser.rates[0] == 1.0
    assert math.isnan(chooser.rates[1])
    assert chooser.space["a"] == [1, 2]
    assert chooser.space["b"] is rates
    wrong: Any = "x"
    with pytest.raises(
        ConfigError, match=r"^Chooser: rates\[1\] must be a number, got 'x'; space must be a mapping, got 'x'$"
    ):
        Chooser([1, wrong], wrong)


def test_reading_settings_loads_no_pydantic() -> None:
    code = "import sys, multinas_ray.settings; assert not {'pydantic', 'numpy', 'difflib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
