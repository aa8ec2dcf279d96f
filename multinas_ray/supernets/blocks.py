"""From a block's description to a torch module. Candidate blocks know nothing of the search.

To add a block of your own: describe it by a frozen dataclass with the members of
`multinas_ray.spaces.BlockDescription`, and register a builder for its type:

    @build_block.register
    def _(description: MyBlock, norm: NormBuilder) -> nn.Module:
        return MyModule(description.channels, norm(description.channels))
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import singledispatch

import torch
from torch import Tensor, nn

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import Block, ConvLayer, Head

NormBuilder = Callable[[int], nn.Module]
"""From a number of channels to a normalisation of (B, channels, H, W)."""


class Residual(nn.Sequential):
    """Layers in a row, their input added to their output."""

    def forward(self, input: Tensor) -> Tensor:
        """Input plus the layers' output, both (B, channels, H, W)."""
        output = input
        for layer in self:
            output = layer(output)
        return output + input


@singledispatch
def build_block(description: object, norm: NormBuilder) -> nn.Module:
    """Module of a description, freshly initialised from torch's global generator.

    Convolutions start from N(0, 2 / fan_out) (He et al., ICCV 2015, mode "fan_out"), where fan_out is that of
    one output channel's group: ``kernel_size**2 * out_channels / groups``, so that depthwise convolutions are
    not scaled down by their channels. Normalisations start at scale 1 and shift 0, the classifier from
    N(0, 0.01**2) with bias 0, as torchvision's mobile networks.

    Args:
        description: a `BlockDescription`.
        norm: makes the normalisation of a number of channels.

    Raises:
        ConfigError: no builder is registered for the description's type.
    """
    raise ConfigError(
        f"No module is known for the block type {type(description).__name__}. "
        "Register a builder with @multinas_ray.supernets.build_block.register."
    )


@build_block.register
def _(description: Block, norm: NormBuilder) -> nn.Module:
    if not description.layers:
        return nn.Identity()
    layers = [_build_layer(layer, norm) for layer in description.layers]
    return Residual(*layers) if description.residual else nn.Sequential(*layers)


@build_block.register
def _(description: Head, norm: NormBuilder) -> nn.Module:
    classifier = nn.Linear(description.in_channels, description.num_classes)
    nn.init.normal_(classifier.weight, std=0.01)
    nn.init.zeros_(classifier.bias)
    modules: dict[str, nn.Module] = {
        "features": build_block(description.features, norm),
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "classifier": classifier,
    }
    return nn.Sequential(OrderedDict(modules))


def _build_layer(layer: ConvLayer, norm: NormBuilder) -> nn.Module:
    conv = nn.Conv2d(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        layer.stride,
        padding=layer.kernel_size // 2,
        groups=layer.groups,
        bias=False,
    )
    fan_out = layer.kernel_size**2 * layer.out_channels // layer.groups
    with torch.no_grad():
        conv.weight.normal_(std=(2.0 / fan_out) ** 0.5)
    modules: dict[str, nn.Module] = {"conv": conv, "norm": norm(layer.out_channels)}
    # ReLU in place: nobody else needs the normalisation's output. ReLU6 would copy it for its backward pass.
    if layer.activation == "relu":
        modules["activation"] = nn.ReLU(inplace=True)
    elif layer.activation == "relu6":
        modules["activation"] = nn.ReLU6()
    return nn.Sequential(OrderedDict(modules))
