import json
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.spaces import (
    Head,
    NetworkSpace,
    Position,
    Shape,
    cifar10_mobile_space,
    digits_space,
    nas_bench_macro_space,
    register_block,
    space_from_dict,
)


@register_block
@dataclass(frozen=True)
class Pool:
    name: str
    size: int

    params = 0

    def output_shape(self, input_shape: Shape) -> Shape:
        channels, height, width = input_shape
        return channels, height // self.size, width // self.size

    def flops(self, input_shape: Shape) -> int:
        return 0

    def activations(self, input_shape: Shape) -> int:
        return 0

    def to_dict(self) -> dict[str, Any]:
        return {"type": "Pool", **asdict(self)}


def through_json(description: Any) -> Any:
    return json.loads(json.dumps(description))


@pytest.mark.parametrize("space", [digits_space(), nas_bench_macro_space(), cifar10_mobile_space(0.5)])
def test_a_recorded_space_is_the_same_space(space: NetworkSpace) -> None:
    again = space_from_dict(through_json(space.to_dict()))
    assert again == space
    assert again.fingerprint == space.fingerprint


def test_a_space_with_blocks_of_ones_own_is_read_again() -> None:
    digits = digits_space()
    first = Position("first", (Pool("half", 2),))
    space = NetworkSpace("own", digits.input_shape, digits.stem, (first,), Head(16, 3))
    assert space_from_dict(through_json(space.to_dict())) == space


def test_an_unknown_block_names_the_remedy() -> None:
    description = digits_space().to_dict()
    description["stem"]["type"] = "Whirl"
    with pytest.raises(
        ConfigError, match=r"no block type is registered by the name 'Whirl'; known are Block, .*--import"
    ):
        space_from_dict(description)


@pytest.mark.parametrize("damage", ["positions", "stem", "head", "input_shape", "name"])
def test_a_description_without_a_part_is_refused(damage: str) -> None:
    description = digits_space().to_dict()
    del description[damage]
    with pytest.raises(StateError, match=damage):
        space_from_dict(description)


def test_a_block_with_other_fields_is_refused() -> None:
    description = digits_space().to_dict()
    description["stem"]["layers"][0]["dilation"] = 2
    with pytest.raises(StateError, match=r"does not describe a Block .*dilation"):
        space_from_dict(description)


@pytest.mark.parametrize(
    "damaged",
    [
        "Block",
        {"type": "Head", "in_channels": 1, "num_classes": 2, "features": []},
        {"type": "Block", "name": "x", "layers": [["type"]], "residual": False},
    ],
)
def test_a_block_of_another_form_is_refused(damaged: Any) -> None:
    with pytest.raises(StateError, match=r"a block must be described|does not describe a"):
        space_from_dict({**digits_space().to_dict(), "head": damaged})


def test_two_block_types_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Pool is registered already, by .*test_described"):
        register_block(type("Pool", (), {"__module__": "elsewhere"}))
