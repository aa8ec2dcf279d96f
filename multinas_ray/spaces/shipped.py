"""The network spaces that come with the package."""

from itertools import product

from multinas_ray.settings import PositiveFloat, PositiveInt, checked_arguments
from multinas_ray.spaces.blocks import Activation, Block, ConvLayer, Head, Shape, mbconv, scale_width, skip
from multinas_ray.spaces.elastic import elastic_blocks
from multinas_ray.spaces.network import NetworkSpace, Position


@checked_arguments
def nas_bench_macro_space(
    num_classes: PositiveInt = 10, width_multiplier: PositiveFloat = 1.0, image_size: PositiveInt = 32
) -> NetworkSpace:
    """The space of NAS-Bench-Macro (Su et al., Prioritized Architecture Sampling, CVPR 2021) with 3**8 networks.

    It has eight positions in stages of 2, 3 and 3 with the choices 0 identity, 1 MB3_K3 and 2 MB6_K5, as in the
    benchmark's strings. With the default arguments, parameters and FLOPs equal the benchmark's. The identity at the
    first position of a stage is a 1x1 convolution of stride 2 with batch normalisation.

    Args:
        num_classes: number of logits.
        width_multiplier: scales every width, rounded by `scale_width`.
        image_size: height and width of the RGB images.
    """
    channels = scale_width(32, width_multiplier)
    stem = Block("stem", (ConvLayer(3, channels, 3, activation="relu"),))
    positions = []
    for stage, (width, depth) in enumerate([(64, 2), (128, 3), (256, 3)], start=1):
        for index in range(depth):
            out_channels, stride = scale_width(width, width_multiplier), 2 if index == 0 else 1
            reduce = ConvLayer(channels, out_channels, stride=stride, activation=None)
            identity = Block("identity", (reduce,)) if index == 0 else skip("identity")
            blocks = (
                mbconv(channels, out_channels, kernel_size, expansion, stride, activation="relu")
                for expansion, kernel_size in [(3, 3), (6, 5)]
            )
            positions.append(Position(f"stage{stage}_{index + 1}", (identity, *blocks)))
            channels = out_channels
    features = Block("features", (ConvLayer(channels, scale_width(1280, width_multiplier)),))
    head = Head(features.layers[-1].out_channels, num_classes, features)
    return NetworkSpace("nas_bench_macro", (3, image_size, image_size), stem, tuple(positions), head)


@checked_arguments
def cifar10_mobile_space(
    width_multiplier: PositiveFloat = 1.0,
    num_classes: PositiveInt = 10,
    image_size: PositiveInt = 32,
    *,
    stem_stride: PositiveInt = 1,
    expansions: tuple[PositiveInt, ...] = (3, 6),
    kernel_sizes: tuple[PositiveInt, ...] = (3, 5, 7),
    elastic: bool = False,
    divisor: PositiveInt = 8,
) -> NetworkSpace:
    """A mobile space for images of 32x32: 16 MBConv blocks, kernel 3/5/7 x expansion 3/6, and skips.

    Stages and widths are those of MobileNetV2 (Sandler et al., CVPR 2018), and the choices are those of ProxylessNAS
    (Cai et al., ICLR 2019). The strides of the stem and of the first stage are 1 here, so that the last feature map is
    4x4. Every block except the first of a stage can be skipped, whatever the widths. There are 106 choices in all.
    With one kernel size of 3 and one expansion of 6, and no block skipped, a network is MobileNetV2 at this width.

    Args:
        width_multiplier: scales every width, rounded by `scale_width`. It scales the head too, which MobileNetV2
            never shrinks, so that small networks stay small.
        num_classes: number of logits.
        image_size: height and width of the RGB images.
        stem_stride: stride of the first convolution. 2 makes every feature map half as large, and a network of the same
            width nearly four times as cheap.
        expansions: how many times as many channels a block has within it as at its ends; one choice for each.
        kernel_sizes: of the depthwise convolutions, each with each of the expansions.
        elastic: whether blocks of a kernel size share weights, as `elastic_blocks` does. With one kernel size the
            networks then lie within each other, and `WeightTraining.rule` may be "sandwich".
        divisor: every width is a multiple of it.
    """
    stages = [(24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
    return _mobile_space(
        "cifar10_mobile",
        (3, image_size, image_size),
        num_classes,
        width_multiplier,
        stages,
        stem_stride,
        expansions=expansions,
        kernel_sizes=kernel_sizes,
        elastic=elastic,
        divisor=divisor,
    )


@checked_arguments
def imagenet_mobile_space(
    num_classes: PositiveInt = 1000,
    image_size: PositiveInt = 224,
    width_multiplier: PositiveFloat = 1.0,
    squeeze_excitation: bool = False,
) -> NetworkSpace:
    """The mobile space for ImageNet: 21 MBConv blocks, kernel 3/5/7 x expansion 3/6, and skips; 2.2e17 networks.

    Choices, widths and depths are those of ProxylessNAS's published search for ImageNet (Cai et al., ICLR 2019):
    stages of 24x4, 40x4, 80x4, 96x4, 192x4 and 320 channels, with stride 2 at the stem and at blocks 0, 4, 8 and 16.
    Every block except the first of a stage can be skipped. There are 141 choices in all.

    Args:
        num_classes: number of logits.
        image_size: height and width of the RGB images.
        width_multiplier: scales every width, including the head's, rounded by `scale_width`.
        squeeze_excitation: whether every MBConv has squeeze-and-excitation after its depthwise convolution (see
            `mbconv`).
    """
    stages = [(24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1)]
    return _mobile_space(
        "imagenet_mobile_se" if squeeze_excitation else "imagenet_mobile",
        (3, image_size, image_size),
        num_classes,
        width_multiplier,
        stages,
        stem_stride=2,
        squeeze_excitation=squeeze_excitation,
    )


@checked_arguments
def digits_space(
    num_classes: PositiveInt = 10, image_size: PositiveInt = 8, width_multiplier: PositiveFloat = 1.0
) -> NetworkSpace:
    """A small space for scikit-learn's grey 8x8 digits: 6 positions, 10,000 networks, trained in seconds.

    The choices are kernel 3/5 x expansion 2/4, and a skip at every position that does not halve the feature map.

    Args:
        num_classes: number of logits.
        image_size: height and width of the grey images.
        width_multiplier: scales every width, rounded by `scale_width`.
    """
    widths = [scale_width(width, width_multiplier) for width in (16, 32, 64)]
    stem = Block("stem", (ConvLayer(1, widths[0], 3, activation="relu"),))
    stages = [(widths[0], 1, 1), (widths[1], 3, 2), (widths[2], 2, 2)]
    positions = _mobile_positions(
        widths[0], stages, expansions=(2, 4), kernel_sizes=(3, 5), activation="relu", skip_first_stage=True
    )
    return NetworkSpace("digits", (1, image_size, image_size), stem, positions, Head(widths[2], num_classes))


def _mobile_space(
    name: str,
    input_shape: Shape,
    num_classes: int,
    width_multiplier: float,
    stages: list[tuple[int, int, int]],
    stem_stride: int,
    expansions: tuple[int, ...] = (3, 6),
    kernel_sizes: tuple[int, ...] = (3, 5, 7),
    squeeze_excitation: bool = False,
    elastic: bool = False,
    divisor: int = 8,
) -> NetworkSpace:
    """MobileNetV2's frame: a stem of 32 channels with an MBConv of 16, the stages, and a head of 1280 channels."""

    def scaled(width: int) -> int:
        return scale_width(width, width_multiplier, divisor)

    channels, first_width = scaled(32), scaled(16)
    first = mbconv(channels, first_width, kernel_size=3, expansion=1, squeeze_excitation=squeeze_excitation)
    stem = Block("stem", (ConvLayer(3, channels, 3, stem_stride, activation="relu6"), *first.layers))
    positions = _mobile_positions(
        first_width,
        [(scaled(width), depth, stride) for width, depth, stride in stages],
        expansions=expansions,
        kernel_sizes=kernel_sizes,
        activation="relu6",
        squeeze_excitation=squeeze_excitation,
        elastic=elastic,
    )
    last = ConvLayer(scaled(stages[-1][0]), scaled(1280), activation="relu6")
    head = Head(last.out_channels, num_classes, Block("features", (last,)))
    return NetworkSpace(name, input_shape, stem, positions, head)


def _mobile_positions(
    channels: int,
    stages: list[tuple[int, int, int]],
    expansions: tuple[int, ...],
    kernel_sizes: tuple[int, ...],
    activation: Activation,
    skip_first_stage: bool = False,
    squeeze_excitation: bool = False,
    elastic: bool = False,
) -> tuple[Position, ...]:
    """Positions of the stages, which are given as (width, depth, stride of the first block).

    All blocks of a stage except the first can be skipped; with `skip_first_stage` also the very first block.
    """
    positions = []
    for stage, (width, depth, first_stride) in enumerate(stages, start=1):
        for index in range(depth):
            stride = first_stride if index == 0 else 1
            blocks: list[Block] = [
                mbconv(channels, width, kernel_size, expansion, stride, activation, squeeze_excitation)
                for expansion, kernel_size in product(expansions, kernel_sizes)
            ]
            if elastic:
                sharing = [elastic_blocks(blocks[first :: len(kernel_sizes)]) for first in range(len(kernel_sizes))]
                blocks = [block for same_expansion in zip(*sharing, strict=True) for block in same_expansion]
            if index > 0 or (skip_first_stage and stage == 1):
                blocks.append(skip())
            positions.append(Position(f"stage{stage}_{index + 1}", tuple(blocks)))
            channels = width
    return tuple(positions)
