"""Code of a person's own that raises or gives no answer: it is told whose it was and where."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import (
    Block,
    Head,
    NetworkSpace,
    Position,
    SearchSpace,
    Shape,
    Variable,
    all_costs,
    descend,
)
from multinas_ray.supernets import build_subnet
from tests.support.tiny_search import tiny_space
from tests.support.uneven_cost import Unevenness

SPACE = tiny_space()


@dataclass(frozen=True)
class Mine:
    """A block whose members are functions."""

    name: str = "mine"
    shape: Any = lambda shape: shape
    multiply_adds: Any = lambda shape: 0

    params = 0

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.shape(input_shape)

    def flops(self, input_shape: Shape) -> int:
        return self.multiply_adds(input_shape)

    def activations(self, input_shape: Shape) -> int:
        return 0

    def to_dict(self) -> dict[str, Any]:
        return {"type": "Mine", "name": self.name}

    def build(self, norm: object) -> Any:
        raise ZeroDivisionError("no module")


def space_with(block: Any) -> NetworkSpace:
    return replace(SPACE, positions=(*SPACE.positions[:2], Position("c", (*SPACE.positions[2].blocks, block))))


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (
            lambda shape: shape[7],
            r"block 'mine' of position 'c' .* its output_shape raised IndexError .*own_code.py:",
        ),
        (
            lambda shape: None,
            r"block 'mine' of position 'c' must give an output shape of .* got None",
        ),
        (lambda shape: (16, 0, 2), r"three whole numbers from 1"),
        (lambda shape: (16, 2.0, 2), r"three whole numbers from 1"),
    ],
)
def test_a_blocks_shape_is_told_by_its_block(shape: Callable[[Any], Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        space_with(Mine(shape=shape))


def test_a_blocks_costs_and_module_are_told_by_its_block() -> None:
    space = space_with(Mine(multiply_adds=lambda shape: 1 / 0))
    with pytest.raises(ConfigError, match=r"the cost 'flops' for the block 'mine' .* raised ZeroDivisionError"):
        _ = space.costs
    with pytest.raises(ConfigError, match=r"the cost 'flops' must be a number .* block 'mine' .* has 'many'"):
        _ = space_with(Mine(multiply_adds=lambda shape: "many")).costs
    with pytest.raises(ConfigError, match=r"build of the block 'mine' \(Mine\) raised ZeroDivisionError \(no module\)"):
        build_subnet(space_with(Mine()), (0, 0, 3))


@pytest.mark.parametrize(
    "head", [Block("head"), Mine("head", shape=lambda _: (10, 2, 2)), Mine(shape=lambda _: (1, 1, 1))]
)
def test_a_head_that_gives_no_class_vector_is_refused(head: Any) -> None:
    with pytest.raises(ConfigError, match=r"the head must give a vector of at least 2 classes.*: end it with a pool"):
        replace(SPACE, head=head)
    assert replace(SPACE, head=Head(16, 2)).num_classes == 2


class Broken(Unevenness):
    """A cost whose function gives what it was made with."""

    kind = "broken"
    gives: Any = None

    def __call__(self, architectures: Any) -> Any:
        return self.gives(architectures)


@pytest.mark.parametrize(
    ("gives", "told"),
    [
        (
            lambda rows: 1 / 0,
            r"^the cost 'energy' \(Broken\) raised ZeroDivisionError \(division by zero\) at .*",
        ),
        (lambda rows: np.full(len(rows), np.nan), r"must give a finite number for each .*, got nan"),
        (lambda rows: [1.0], r"must give a finite number for each of \(N, D\) architectures, got \(1,\) for N = 4"),
        (lambda rows: "cheap", r"raised ValueError"),
        (lambda rows: None, r"got \(\) for N = 4"),
    ],
)
def test_a_cost_of_ones_own_is_told_by_its_name(gives: Any, told: str) -> None:
    cost = object.__new__(Broken)
    object.__setattr__(cost, "name", "energy")
    object.__setattr__(cost, "gives", gives)
    with pytest.raises(ConfigError, match=told):
        cost(np.zeros((4, 3), int))


def broken_score(rows: Any) -> Any:
    return {"a": rows}["b"]


def test_a_descent_ends_whatever_the_score_gives() -> None:
    nothing = descend((1, 1), (3, 3), lambda rows: np.full(len(rows), np.nan))
    assert nothing.tolist() == [1, 1]
    some = descend((1, 1), (3, 3), lambda rows: np.where(rows[:, 0] == 0, np.nan, rows.sum(axis=1)))
    assert some.tolist() == [1, 0]
    turns = iter(range(10**6))
    assert len(descend((0, 0), (3, 3), lambda rows: np.full(len(rows), -float(next(turns))))) == 2
    with pytest.raises(ConfigError, match="score raised KeyError"):
        descend((0, 0), (3, 3), broken_score)


def test_joined_labels_can_be_told_apart() -> None:
    labels = (("a", "a b", 'a "b', ""), ("b c", "c", "1", 1))
    space = SearchSpace(tuple(Variable(str(place), each) for place, each in enumerate(labels)))
    texts = [space.describe(row) for row in space.enumerate().tolist()]
    assert len(set(texts)) == 16
    assert space.describe((0, 1)) == "a c"
    assert space.describe((1, 1)) == '"a b" c'
    assert [json.loads(text) for text in space.labels[0][1:]] == list(labels[0][1:])
    assert SPACE.search_space.describe((0, 0, 2)) == "mb2_k3 mb2_k3 skip"
    assert set(all_costs(SPACE, ())) == {"params", "flops"}
