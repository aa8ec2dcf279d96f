"""Blocks of elastic width: in a supernet, the narrow ones use the first channels of the widest.

Yu et al., Slimmable Neural Networks, ICLR 2019; Cai et al., Once-for-All, ICLR 2020. Here the channels between the
layers of a block vary, as with the expansions of Once-for-All; its input and output do not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked, checked_arguments
from multinas_ray.spaces.blocks import Block, ConvLayer, Layer, SqueezeExcitation


@checked
@dataclass(frozen=True)
class ElasticBlock(Block):
    """A block that shares the weights of a wider one in a supernet, and is an ordinary block elsewhere.

    It is a `PartialBlock`; `elastic_blocks` makes those of a position.

    Raises:
        ConfigError: The two blocks differ in more than the channels between their layers, or this one has more of them,
            or the other is elastic itself.
    """

    within: Block = field(kw_only=True)
    """The wider block, whose first channels this one uses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.within, ElasticBlock):
            raise ConfigError(
                f"within must be an ordinary block, got the elastic block {self.within.name!r}: give the block "
                "that this one is within"
            )
        if not _is_narrower(self, self.within):
            raise ConfigError(
                f"an elastic block must be like the block that it is within but for fewer channels between its layers, "
                f"{self.name!r} is not like {self.within.name!r}: give both the same kinds of layers, kernel sizes, "
                "strides, activations, inputs and outputs (an MBConv of expansion 1 lacks a layer)"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description."""
        return {**super().to_dict(), "type": "ElasticBlock", "within": self.within.to_dict()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Block:
        """The block with the fields of `to_dict`."""
        within = {name: value for name, value in fields["within"].items() if name != "type"}
        return super().from_dict({**fields, "within": Block.from_dict(within)})


@checked_arguments
def elastic_blocks(blocks: Sequence[Block]) -> tuple[ElasticBlock, ...]:
    """Blocks of one position that share the weights of the widest of them.

    >>> from multinas_ray.spaces import elastic_blocks, mbconv
    >>> [block.name for block in elastic_blocks([mbconv(16, 16, 3, expansion) for expansion in (2, 4, 6)])]
    ['mb2_k3', 'mb4_k3', 'mb6_k3']

    Args:
        blocks: at least one block, which differ only in the channels between their layers.

    Returns:
        The same blocks, in the same order.

    Raises:
        ConfigError: There are no blocks, or one is no part of that with the most parameters.
    """
    if not blocks:
        raise ConfigError("elastic_blocks must get at least one block, got none")
    widest = max(blocks, key=lambda block: block.params)
    return tuple(ElasticBlock(block.name, block.layers, block.residual, within=widest) for block in blocks)


def _is_narrower(narrow: Block, wide: Block) -> bool:
    """Whether the weights of a block are the first channels of those of another."""
    if narrow.residual != wide.residual or [*map(_kind, narrow.layers)] != [*map(_kind, wide.layers)]:
        return False
    pairs = [*zip(_widths(narrow), _widths(wide), strict=True)]
    ends = pairs[:1] + pairs[-1:]
    return all(few <= many for few, many in pairs) and all(few == many for few, many in ends)


def _kind(layer: Layer) -> tuple[object, ...]:
    """What a layer is but for its width."""
    if isinstance(layer, SqueezeExcitation):
        return (SqueezeExcitation,)
    # With groups, as in a depthwise convolution, the first groups are used, so that their size must be the same.
    group = (layer.in_channels // layer.groups, layer.out_channels // layer.groups) if layer.groups > 1 else None
    return ConvLayer, layer.kernel_size, layer.stride, layer.activation, group


def _widths(block: Block) -> list[int]:
    """The channels in a block, from its input to its output."""
    widths: list[int] = []
    for layer in block.layers:
        inner = [layer.squeeze_channels] if isinstance(layer, SqueezeExcitation) else []
        widths += [layer.in_channels, *inner, layer.out_channels]
    return widths
