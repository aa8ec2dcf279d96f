"""Blocks as data, from which both costs and modules are made.

Shapes are (channels, height, width) of one image. FLOPs are multiply-adds of convolutions and linear
layers for one image. Activations are the elements that autograd keeps for one image (an estimate).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from annotated_types import Ge

from multinas_ray.errors import ConfigError
from multinas_ray.settings import PositiveFloat, PositiveInt, checked, checked_arguments

MOST_CHANNELS = 2**31
"""Channels of a layer, at most; more fit no memory."""
Shape = tuple[int, int, int]
Activation = Literal["relu", "relu6"] | None


@runtime_checkable
class BlockDescription(Protocol):
    """What a network space needs to know about a block. Implement it in a frozen dataclass to add a block of your own.

    The module is built by a method ``build(norm)`` of the description, where `norm` makes the normalisation for a
    number of channels, or by a builder that is registered with `supernets.build_block`. The module must not change its
    input in place, since subnets with a common prefix share it. With `register_block`, recorded spaces with such blocks
    can be read again.
    """

    @property
    def name(self) -> str:
        """Label of the choice; unique at its position."""

    @property
    def params(self) -> int:
        """Number of trainable parameters."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output; raises ConfigError if the block cannot take the input."""

    def flops(self, input_shape: Shape) -> int:
        """Multiply-adds of convolutions and linear layers for one image."""

    def activations(self, input_shape: Shape) -> int:
        """Elements that autograd keeps for one image, without the input."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description, with everything that changes the module."""


@runtime_checkable
class PartialBlock(BlockDescription, Protocol):
    """A block whose weights in a supernet are the leading ones of a larger block's, in every dimension of each weight.

    Blocks of a position that are within equal blocks share weights. In a network of its own such a block is like any
    other.
    """

    @property
    def within(self) -> BlockDescription:
        """The larger block, whose weights have the same names; it need not be a candidate itself."""


@checked
@dataclass(frozen=True)
class ConvLayer:
    """Convolution without bias, batch normalisation and activation, padded by ``kernel_size // 2``.

    Raises:
        ConfigError: A size is below 1, `groups` does not divide the channels, or the activation is unknown.
    """

    in_channels: PositiveInt
    """Channels of the input."""
    out_channels: PositiveInt
    """Channels of the output."""
    kernel_size: PositiveInt = 1
    """Height and width of the kernel; odd, so that stride 1 keeps the shape."""
    stride: PositiveInt = 1
    """Step in height and width."""
    groups: PositiveInt = 1
    """Groups of channels; `in_channels` for a depthwise convolution."""
    activation: Activation = "relu"
    """Activation after the normalisation; None for none."""

    def __post_init__(self) -> None:
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size must be odd, so that stride 1 keeps the shape, got {self.kernel_size}")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ConfigError(
                f"groups must divide in_channels={self.in_channels} and out_channels={self.out_channels}, "
                f"got {self.groups}"
            )

    @property
    def params(self) -> int:
        """Weights of the convolution, scale and shift of the normalisation."""
        return self._weights + 2 * self.out_channels

    @property
    def _weights(self) -> int:
        return self.kernel_size**2 * (self.in_channels // self.groups) * self.out_channels

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output.

        Raises:
            ConfigError: The input has other channels.
        """
        channels, height, width = input_shape
        if channels != self.in_channels:
            raise ConfigError(
                f"the input of a layer must have in_channels={self.in_channels} channels, got {channels}: "
                "change in_channels or the block before it"
            )
        # Padding of k // 2 and an odd k: ceil(size / stride).
        return (self.out_channels, -(-height // self.stride), -(-width // self.stride))

    def flops(self, input_shape: Shape) -> int:
        """Multiply-adds for one image."""
        _, height, width = self.output_shape(input_shape)
        return self._weights * height * width

    def activations(self, input_shape: Shape) -> int:
        """Elements that autograd keeps for one image.

        They are the output of the convolution (for the normalisation), that of the layer (for the next one) and, with
        ReLU6, that of the normalisation.
        """
        channels, height, width = self.output_shape(input_shape)
        return (3 if self.activation == "relu6" else 2) * channels * height * width

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description; a description without a type means this class."""
        return asdict(self)


@checked
@dataclass(frozen=True)
class SqueezeExcitation:
    """Scales each channel by a factor that is computed from the pooled input (Hu et al., CVPR 2018), as in MobileNetV3.

    It consists of a global average pool, 1x1 convolution, ReLU, 1x1 convolution, hard sigmoid and the product with the
    input (Howard et al., ICCV 2019); both convolutions have biases.

    Raises:
        ConfigError: A size is below 1.
    """

    channels: PositiveInt
    """Channels of input and output."""
    squeeze_channels: PositiveInt
    """Channels between the two convolutions; MobileNetV3 takes a quarter of `channels`."""

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        return self.channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.channels

    @property
    def stride(self) -> int:
        """1, since it keeps height and width."""
        return 1

    @property
    def params(self) -> int:
        """Weights and biases of the two convolutions."""
        return 2 * self.channels * self.squeeze_channels + self.channels + self.squeeze_channels

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output: that of the input.

        Raises:
            ConfigError: The input has other channels.
        """
        if input_shape[0] != self.channels:
            raise ConfigError(
                f"the input of a layer must have channels={self.channels} channels, got {input_shape[0]}: "
                "change channels or the layer before it"
            )
        return input_shape

    def flops(self, input_shape: Shape) -> int:
        """Multiply-adds for one image; pool, biases and the product with the input are not counted."""
        return 2 * self.channels * self.squeeze_channels

    def activations(self, input_shape: Shape) -> int:
        """Elements that autograd keeps for one image: pooled and scaling channels, then the layer's output."""
        channels, height, width = self.output_shape(input_shape)
        return channels * height * width + 3 * channels + self.squeeze_channels

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description."""
        return {"type": "SqueezeExcitation", **asdict(self)}


Layer = ConvLayer | SqueezeExcitation


@checked
@dataclass(frozen=True)
class Block:
    """A sequence of layers, with a shortcut around them if `residual`; without layers it is the identity.

    Raises:
        ConfigError: The block is residual but has no layers, or its layers change the channels or the size.
    """

    name: str
    """Label of the choice."""
    layers: tuple[Layer, ...] = ()
    """The layers, from first to last."""
    residual: bool = False
    """Whether the input is added to the last layer's output."""

    def __post_init__(self) -> None:
        if self.residual and not self._keeps_shape:
            raise ConfigError(
                f"a residual block must have layers that keep channels and size, block {self.name!r} does not: set "
                "residual=False, or make all strides 1 and the first in_channels equal to the last out_channels"
            )

    @property
    def _keeps_shape(self) -> bool:
        return (
            len(self.layers) > 0
            and self.layers[0].in_channels == self.layers[-1].out_channels
            and all(layer.stride == 1 for layer in self.layers)
        )

    @property
    def params(self) -> int:
        """Number of trainable parameters."""
        return sum(layer.params for layer in self.layers)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the output.

        Raises:
            ConfigError: The input of a layer does not have the layer's channels.
        """
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def flops(self, input_shape: Shape) -> int:
        """Multiply-adds for one image; the shortcut's addition is not counted."""
        flops = 0
        for layer in self.layers:
            flops += layer.flops(input_shape)
            input_shape = layer.output_shape(input_shape)
        return flops

    def activations(self, input_shape: Shape) -> int:
        """Elements that autograd keeps for one image."""
        activations = 0
        for layer in self.layers:
            activations += layer.activations(input_shape)
            input_shape = layer.output_shape(input_shape)
        return activations

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description."""
        layers = [layer.to_dict() for layer in self.layers]
        return {"type": "Block", "name": self.name, "layers": layers, "residual": self.residual}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Block":
        """The block with the fields of `to_dict`."""
        return cls(**{**fields, "layers": tuple(_layer_from_dict(layer) for layer in fields["layers"])})


@checked
@dataclass(frozen=True)
class Head:
    """Features, global average pool and a linear layer with bias: from a feature map to `num_classes` logits.

    Raises:
        ConfigError: There are fewer than two classes.
    """

    in_channels: PositiveInt
    """Input channels of the linear layer, which are those of the features' output."""
    num_classes: Annotated[int, Ge(2)]
    """Number of logits."""
    features: Block = field(default_factory=lambda: Block("features"))
    """Layers before the pool; none by default."""
    name: str = "head"
    """Name in messages."""

    @property
    def params(self) -> int:
        """Number of trainable parameters."""
        return self.features.params + (self.in_channels + 1) * self.num_classes

    def output_shape(self, input_shape: Shape) -> Shape:
        """(num_classes, 1, 1).

        Raises:
            ConfigError: The input does not fit the features, or the features' output the linear layer.
        """
        channels, _, _ = self.features.output_shape(input_shape)
        if channels != self.in_channels:
            raise ConfigError(
                f"the input of a head must have in_channels={self.in_channels} channels, got {channels}: change "
                "in_channels or the block before it"
            )
        return (self.num_classes, 1, 1)

    def flops(self, input_shape: Shape) -> int:
        """Multiply-adds for one image; the pool and the bias are not counted."""
        return self.features.flops(input_shape) + self.in_channels * self.num_classes

    def activations(self, input_shape: Shape) -> int:
        """Elements that autograd keeps for one image: those of the features, the pool's output and the logits."""
        return self.features.activations(input_shape) + self.in_channels + self.num_classes

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description."""
        return {
            "type": "Head",
            "in_channels": self.in_channels,
            "num_classes": self.num_classes,
            "features": self.features.to_dict(),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Head":
        """The head with the fields of `to_dict`."""
        features = {name: value for name, value in fields["features"].items() if name != "type"}
        return cls(**{**fields, "features": Block.from_dict(features)})


def _layer_from_dict(fields: Mapping[str, Any]) -> Layer:
    if "type" not in fields:
        return ConvLayer(**fields)
    return SqueezeExcitation(**{name: value for name, value in fields.items() if name != "type"})


@checked_arguments
def mbconv(
    in_channels: PositiveInt,
    out_channels: PositiveInt,
    kernel_size: PositiveInt,
    expansion: PositiveInt,
    stride: PositiveInt = 1,
    activation: Activation = "relu6",
    squeeze_excitation: bool = False,
) -> Block:
    """Inverted residual of MobileNetV2 (Sandler et al., CVPR 2018), named ``mb<expansion>_k<kernel_size>``.

    It expands by a 1x1 convolution (left out at expansion 1), filters depthwise and projects by a 1x1 convolution
    without activation. It has a shortcut if the stride is 1 and the channels stay the same. With `squeeze_excitation`
    the depthwise layer is followed by a squeeze-and-excitation layer with a quarter of its channels, rounded to a
    multiple of 8, as in MobileNetV3, and the name ends in ``_se``.
    """
    hidden = in_channels * expansion
    expand = (ConvLayer(in_channels, hidden, activation=activation),) if expansion != 1 else ()
    depthwise = ConvLayer(hidden, hidden, kernel_size, stride, groups=hidden, activation=activation)
    project = ConvLayer(hidden, out_channels, activation=None)
    squeeze = (SqueezeExcitation(hidden, scale_width(hidden, 0.25)),) if squeeze_excitation else ()
    residual = stride == 1 and in_channels == out_channels
    name = f"mb{expansion}_k{kernel_size}{'_se' if squeeze_excitation else ''}"
    return Block(name, (*expand, depthwise, *squeeze, project), residual)


@checked_arguments
def skip(name: str = "skip") -> Block:
    """The identity: the position is left out of the network."""
    return Block(name)


@checked_arguments
def scale_width(channels: PositiveInt, width_multiplier: PositiveFloat, divisor: PositiveInt = 8) -> int:
    """Channels times the multiplier, rounded to a multiple of `divisor`, but never down by more than 10 %.

    It is the rule of the MobileNets' reference code (tensorflow/models, slim/nets/mobilenet), the same as
    ``torchvision.models._utils._make_divisible``.

    Raises:
        ConfigError: An argument breaks its rule.
    """
    wanted = channels * width_multiplier
    if wanted > MOST_CHANNELS:
        raise ConfigError(
            f"width_multiplier must give at most {MOST_CHANNELS} channels, got {width_multiplier:g} times {channels}"
        )
    rounded = max(divisor, int(wanted + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded
