"""An example of a block, a space and a cost of your own, for experiments/custom.py with --space and --cost."""

from dataclasses import asdict, dataclass
from itertools import pairwise
from math import prod
from typing import Any

from torch import nn

from multinas_ray.spaces import (
    AdditiveCost,
    Block,
    ConvLayer,
    Head,
    NetworkSpace,
    Position,
    Shape,
    register_block,
    skip,
)


@register_block  # so that a recorded run can be opened again
@dataclass(frozen=True)
class Separable:
    """A depthwise convolution, a pointwise convolution, normalisation and hard swish."""

    name: str
    channels: int
    out_channels: int
    kernel_size: int
    stride: int

    @property
    def params(self) -> int:
        """Number of parameters."""
        return self.channels * (self.kernel_size**2 + self.out_channels) + 2 * self.out_channels

    def output_shape(self, input_shape: Shape) -> Shape:
        """(channels, height, width) of the output."""
        return (self.out_channels, -(-input_shape[1] // self.stride), -(-input_shape[2] // self.stride))

    def flops(self, input_shape: Shape) -> int:
        """Multiply-adds for one image."""
        return (self.params - 2 * self.out_channels) * prod(self.output_shape(input_shape)[1:])

    def activations(self, input_shape: Shape) -> int:
        """Number of values that a training step keeps for one image."""
        return (self.channels + 2 * self.out_channels) * prod(self.output_shape(input_shape)[1:])

    def to_dict(self) -> dict[str, Any]:
        """Plain data from which the block can be made again."""
        return {"type": "Separable", **asdict(self)}

    def build(self, norm: Any) -> nn.Module:
        """The module, with `norm` in the place of batch normalisation."""
        sizes = (self.channels, self.channels, self.kernel_size, self.stride, self.kernel_size // 2)
        depthwise = nn.Conv2d(*sizes, groups=self.channels, bias=False)
        pointwise = nn.Conv2d(self.channels, self.out_channels, 1, bias=False)
        return nn.Sequential(depthwise, pointwise, norm(self.out_channels), nn.Hardswish())


def separable_space(image_shape: Shape, num_classes: int) -> NetworkSpace:
    """Six positions with kernel 3, 5 or 7. Those that keep the width can be skipped; the others halve the map."""
    positions = []
    for index, (before, after) in enumerate(pairwise((16, 32, 32, 64, 64, 128, 128))):
        blocks = [Separable(f"k{k}", before, after, kernel_size=k, stride=1 + (after > before)) for k in (3, 5, 7)]
        positions.append(Position(f"block{index + 1}", (*blocks, *([] if after > before else [skip()]))))
    stem = Block("stem", (ConvLayer(image_shape[0], 16, kernel_size=3),))
    return NetworkSpace("separable", image_shape, stem, tuple(positions), Head(128, num_classes))


def memory_traffic(space: NetworkSpace) -> AdditiveCost:
    """Bytes that one float32 image moves: each block reads its input and weights and writes its output."""
    return space.additive_cost(
        "traffic_bytes",
        lambda block, shape: 4 * block.params and 4 * (block.params + prod(shape) + prod(block.output_shape(shape))),
        unit="bytes",
    )
