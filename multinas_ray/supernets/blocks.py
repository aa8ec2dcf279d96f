"""Building a torch module from a block's description. Candidate blocks do not depend on the search.

A block of your own is a frozen dataclass with the members of `multinas_ray.spaces.BlockDescription` and a method

    def build(self, norm: NormBuilder) -> nn.Module:
        return MyModule(self.channels, norm(self.channels))

The method is sent to the workers together with the description. If a description must not import torch, as in
`spaces`, a builder is registered here for its type instead (@build_block.register).
"""

from collections import OrderedDict
from collections.abc import Callable
from functools import singledispatch
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from multinas_ray.errors import ConfigError, raised_by
from multinas_ray.spaces import Block, ConvLayer, Head, SqueezeExcitation

NormBuilder = Callable[[int], nn.Module]
"""Makes a normalisation of (B, channels, H, W) for a number of channels."""


@runtime_checkable
class SelfBuilding(Protocol):
    """A description that builds its own module."""

    def build(self, norm: NormBuilder) -> nn.Module:
        """The module, freshly initialised from torch's global generator."""


class Residual(nn.Sequential):
    """A sequence of layers whose input is added to its output."""

    def forward(self, input: Tensor) -> Tensor:
        """Input plus the layers' output, both (B, channels, H, W)."""
        output = input
        for layer in self:
            output = layer(output)
        return output + input


@singledispatch
def build_block(description: object, norm: NormBuilder) -> nn.Module:
    """Build the module of a description, freshly initialised from torch's global generator.

    Convolutions start from N(0, 2 / fan_out) (He et al., ICCV 2015, mode "fan_out"), where fan_out is that of
    one output channel's group, ``kernel_size**2 * out_channels / groups``, so that depthwise convolutions are
    not scaled down by their channels. Biases start at 0, normalisations at scale 1 and shift 0, and the classifier
    from N(0, 0.01**2) with bias 0, as in torchvision's mobile networks.

    Args:
        description: a `BlockDescription`.
        norm: makes the normalisation for a number of channels.

    Raises:
        ConfigError: The description has no method `build`, and no builder is registered for its type.
    """
    if isinstance(description, SelfBuilding):
        name = getattr(description, "name", type(description).__name__)
        with raised_by(f"build of the block {name!r} ({type(description).__qualname__})"):
            module = description.build(norm)
        if not isinstance(module, nn.Module):
            raise ConfigError(f"build of the block {name!r} must return a torch.nn.Module, got {module!r}: correct it")
        return module
    raise ConfigError(
        f"no module is known for the block type {type(description).__name__}: give it a method build(norm), "
        "or register a builder with @multinas_ray.supernets.build_block.register"
    )


@build_block.register
def _(description: Block, norm: NormBuilder) -> nn.Module:
    if not description.layers:
        return nn.Identity()
    layers = [build_block(layer, norm) for layer in description.layers]
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


@build_block.register
def _(description: ConvLayer, norm: NormBuilder) -> nn.Module:
    conv = nn.Conv2d(
        description.in_channels,
        description.out_channels,
        description.kernel_size,
        description.stride,
        padding=description.kernel_size // 2,
        groups=description.groups,
        bias=False,
    )
    fan_out = description.kernel_size**2 * description.out_channels // description.groups
    nn.init.normal_(conv.weight, std=(2.0 / fan_out) ** 0.5)
    modules: dict[str, nn.Module] = {"conv": conv, "norm": norm(description.out_channels)}
    # ReLU works in place, since nothing else needs the normalisation's output. ReLU6 would copy it for backward.
    if description.activation == "relu":
        modules["activation"] = nn.ReLU(inplace=True)
    elif description.activation == "relu6":
        modules["activation"] = nn.ReLU6()
    return nn.Sequential(OrderedDict(modules))


@build_block.register
def _(description: SqueezeExcitation, norm: NormBuilder) -> nn.Module:
    from torchvision import ops  # here, since most networks do not need these 3 seconds of loading

    squeeze = ops.SqueezeExcitation(
        description.channels, description.squeeze_channels, activation=nn.ReLU, scale_activation=nn.Hardsigmoid
    )
    for conv in (squeeze.fc1, squeeze.fc2):
        nn.init.normal_(conv.weight, std=(2.0 / conv.out_channels) ** 0.5)
        nn.init.zeros_(conv.bias)
    module: nn.Module = squeeze
    return module
