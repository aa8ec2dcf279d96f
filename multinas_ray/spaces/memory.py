"""The memory that a network's activations need on a device: a cost that is a maximum over the blocks.

Shapes are (channels, height, width) of one image.
"""

import math
from functools import singledispatch

from multinas_ray.settings import checked_arguments
from multinas_ray.spaces.blocks import Block, BlockDescription, Head, Shape
from multinas_ray.spaces.costs import MaximumCost
from multinas_ray.spaces.network import NetworkSpace


@checked_arguments
def peak_memory(space: NetworkSpace, bytes_per_element: int = 4) -> MaximumCost:
    """Bytes of activations that are alive at once while a network computes one image, without the weights.

    Layers run one after the other, as on small devices: while a layer runs, its input and output are alive, and also
    the block's input if there is a shortcut. The largest of these sums over all layers must fit into the device's
    memory (Lin et al., MCUNet, NeurIPS 2020). It is a cost for `OneShotSearchConfig.extra_costs`.

    Args:
        space: the networks.
        bytes_per_element: 4 for float32, 1 for 8-bit integers.

    Returns:
        The cost ``peak_memory``, in bytes.
    """
    return space.maximum_cost(
        "peak_memory", lambda block, shape: bytes_per_element * peak_elements(block, shape), "bytes"
    )


@singledispatch
def peak_elements(block: BlockDescription, input_shape: Shape) -> int:
    """Elements alive at once within a block; for blocks of your own, those of its input and output.

    If such a block needs more, register its own measure: ``@peak_elements.register``.
    """
    return math.prod(input_shape) + math.prod(block.output_shape(input_shape))


@peak_elements.register
def _(block: Block, input_shape: Shape) -> int:
    peak, kept = math.prod(input_shape), 0
    for layer in block.layers:
        output_shape = layer.output_shape(input_shape)
        peak = max(peak, kept + math.prod(input_shape) + math.prod(output_shape))
        if block.residual and not kept:
            kept = math.prod(input_shape)
        input_shape = output_shape
    return peak


@peak_elements.register
def _(head: Head, input_shape: Shape) -> int:
    features_shape = head.features.output_shape(input_shape)
    pooled = math.prod(features_shape) + head.in_channels
    return max(peak_elements(head.features, input_shape), pooled, head.in_channels + head.num_classes)
