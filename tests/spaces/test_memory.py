"""Peak memory of a network's activations."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from multinas_ray.spaces import (
    Block,
    ConvLayer,
    Head,
    NetworkSpace,
    Position,
    Shape,
    digits_space,
    mbconv,
    peak_elements,
    peak_memory,
    skip,
)


def test_a_blocks_peak_is_its_worst_layers_input_output_and_shortcut() -> None:
    plain = Block("plain", (ConvLayer(2, 8), ConvLayer(8, 4, stride=2)))
    assert peak_elements(plain, (2, 4, 4)) == 8 * 16 + max(2 * 16, 4 * 4)
    residual = mbconv(4, 4, kernel_size=3, expansion=6)
    assert residual.residual
    assert peak_elements(residual, (4, 5, 5)) == 25 * (4 + 24 + 24)  # the depthwise layer, and the shortcut
    assert peak_elements(Block("one", (ConvLayer(4, 4),), residual=True), (4, 5, 5)) == 25 * (4 + 4)
    assert peak_elements(skip(), (4, 5, 5)) == 25 * 4
    assert peak_elements(Head(in_channels=4, num_classes=100), (4, 2, 2)) == 104
    assert peak_elements(Head(in_channels=4, num_classes=3), (4, 5, 5)) == 25 * 4 + 4


def test_a_networks_peak_is_its_worst_blocks() -> None:
    space = NetworkSpace(
        name="two",
        input_shape=(3, 8, 8),
        stem=Block("stem", (ConvLayer(3, 4),)),
        positions=(
            Position("a", (mbconv(4, 8, 3, 1, stride=2), mbconv(4, 8, 3, 6, stride=2))),
            Position("b", (skip(), mbconv(8, 8, 3, 6))),
        ),
        head=Head(in_channels=8, num_classes=10),
    )
    cost = peak_memory(space, bytes_per_element=2)
    stem, wide, deep = 64 * (3 + 4), 24 * (64 + 16), 16 * (8 + 48 + 48)
    rows = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert cost(rows).tolist() == [2 * each for each in (stem, deep, wide, wide)]
    assert (cost.name, cost.unit, cost.minimum, cost.maximum) == ("peak_memory", "bytes", 2 * stem, 2 * wide)
    digits = digits_space()
    assert peak_memory(digits).num_categories == digits.search_space.num_categories


@dataclass(frozen=True)
class Twin:
    """A block of one's own."""

    name: str

    params = 0

    def output_shape(self, input_shape: Shape) -> Shape:
        return (2 * input_shape[0], *input_shape[1:])

    def flops(self, input_shape: Shape) -> int:
        return 0

    def activations(self, input_shape: Shape) -> int:
        return 0

    def to_dict(self) -> dict[str, Any]:
        return {"type": "Twin", **asdict(self)}


def test_a_block_of_ones_own_counts_with_its_input_and_output() -> None:
    assert peak_elements(Twin("twin"), (3, 2, 2)) == 4 * (3 + 6)
