import doctest
import json
import os
import pickle
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from torchvision.models._utils import _make_divisible

import multinas_ray.spaces.network
from multinas_ray.errors import ConfigError
from multinas_ray.spaces import (
    AdditiveCost,
    Block,
    ConvLayer,
    ElasticBlock,
    Head,
    NetworkSpace,
    Position,
    SqueezeExcitation,
    cifar10_mobile_space,
    digits_space,
    imagenet_mobile_space,
    mbconv,
    nas_bench_macro_space,
    scale_width,
    skip,
)

STEM = Block("stem", (ConvLayer(3, 16, 3),))
HEAD = Head(16, 10)


def one_position(*blocks, stem=STEM, head=HEAD, input_shape=(3, 8, 8)) -> NetworkSpace:
    return NetworkSpace("test", input_shape, stem, (Position("only", blocks),), head)


@pytest.mark.data
def test_macro_costs_equal_the_benchmark_on_all_networks() -> None:
    table = pd.read_parquet(Path(os.environ["MULTINAS_DATA"]) / "nasbench_macro.parquet")
    assert len(table) == 6561
    architectures = np.array([[int(digit) for digit in arch] for arch in table["arch"]])
    space = nas_bench_macro_space()
    assert (space.costs["params"](architectures) == table["params"]).all()
    assert (space.costs["flops"](architectures) == table["flops"]).all()


def test_macro_costs_of_three_networks() -> None:
    # From NAS-Bench-Macro's published table (Apache-2.0), rows 00000000, 00000002 and 22222222.
    architectures = [[0] * 8, [0] * 7 + [2], [2] * 8]
    costs = nas_bench_macro_space().costs
    assert costs["params"](architectures).tolist() == [387882, 1219370, 2932586]
    assert costs["flops"](architectures).tolist() == [7713280, 20910592, 105660928]


@pytest.mark.parametrize("width_multiplier", [0.25, 0.5, 1.0, 1.4])
def test_mobile_space_has_106_blocks(width_multiplier: float) -> None:
    space = cifar10_mobile_space(width_multiplier)
    assert sum(space.search_space.num_categories) == 106
    assert space.search_space.num_variables == 16
    skips = [position.blocks[-1].name == "skip" for position in space.positions]
    assert sum(skips) == 10
    assert space.input_shapes[-1][1:] == (4, 4)


def test_mobile_space_of_one_choice_is_mobilenet() -> None:
    space = cifar10_mobile_space(stem_stride=2, expansions=(6,), kernel_sizes=(3,), divisor=2)
    assert {block.name for position in space.positions for block in position.blocks} == {"mb6_k3", "skip"}
    assert [shape[1:] for shape in (space.input_shapes[0], space.input_shapes[-1])] == [(16, 16), (2, 2)]
    # By hand, against torchvision's mobilenet_v2(num_classes=10): 2,236,682 parameters
    assert space.costs["params"]([[0] * 16])[0] == 2_236_682
    narrow = cifar10_mobile_space(0.35, divisor=2)
    assert narrow.input_shapes[1][0] == 8  # 24 * 0.35 = 8.4; divisor 8 gives 8 too
    assert narrow.input_shapes[3][0] == 12  # 32 * 0.35 = 11.2, 10 would be more than a tenth below


def test_elastic_blocks_of_a_kernel_size_lie_within_the_widest_and_cost_what_others_do() -> None:
    make = partial(cifar10_mobile_space, stem_stride=2, expansions=(2, 4, 6), kernel_sizes=(3, 5))
    elastic, plain = make(elastic=True), make()
    for position, other in zip(elastic.positions, plain.positions, strict=True):
        assert [block.name for block in position.blocks] == [block.name for block in other.blocks]
        within = [block.within.name for block in position.blocks if isinstance(block, ElasticBlock)]
        assert within == ["mb6_k3", "mb6_k5"] * 3
    rows = elastic.search_space.random(100, np.random.default_rng(0))
    for name, cost in elastic.costs.items():
        assert cost(rows).tolist() == plain.costs[name](rows).tolist()


def test_largest_mobile_network_takes_expansion_6_and_kernel_7_everywhere() -> None:
    space = cifar10_mobile_space()
    for cost in space.costs.values():
        assert space.search_space.describe(cost.argmax()) == " ".join(["mb6_k7"] * 16)
    # By hand: one MBConv of the last stage has (160 + 49 + 320) * 960 weights and 2 * 2240 of BN.
    assert space.positions[-1].blocks[-1].params == 529 * 960 + 2 * 2240


@pytest.mark.parametrize("squeeze_excitation", [False, True])
def test_imagenet_space_has_141_blocks(squeeze_excitation: bool) -> None:
    space = imagenet_mobile_space(squeeze_excitation=squeeze_excitation)
    assert space.input_shape == (3, 224, 224)
    assert sum(space.search_space.num_categories) == 141
    assert space.search_space.num_variables == 21
    assert space.search_space.num_architectures == 6**6 * 7**15  # 2.2e17
    firsts = (0, 4, 8, 12, 16, 20)
    ending = "_se" if squeeze_excitation else ""
    mbconvs = [f"mb{expansion}_k{kernel}{ending}" for expansion in (3, 6) for kernel in (3, 5, 7)]
    for index, position in enumerate(space.positions):
        names = [block.name for block in position.blocks]
        assert names == (mbconvs if index in firsts else [*mbconvs, "skip"])
    stem, *shapes = space.input_shapes
    assert stem == (16, 112, 112)
    widths = [24] * 4 + [40] * 4 + [80] * 4 + [96] * 4 + [192] * 4 + [320]
    sizes = [56] * 4 + [28] * 4 + [14] * 8 + [7] * 5
    assert shapes == [(width, size, size) for width, size in zip(widths, sizes, strict=True)]
    assert isinstance(space.stem, Block)
    assert space.stem.layers[0] == ConvLayer(3, 32, 3, stride=2, activation="relu6")
    assert isinstance(space.head, Head)
    assert space.head.features.layers == (ConvLayer(320, 1280, activation="relu6"),)
    assert space.num_classes == 1000


def test_largest_imagenet_network_takes_expansion_6_and_kernel_7_everywhere() -> None:
    space = imagenet_mobile_space()
    for cost in space.costs.values():
        assert space.search_space.describe(cost.argmax()) == " ".join(["mb6_k7"] * 21)
    # By hand: the last MBConv has (192 + 49 + 320) * 1152 weights and 2 * 2624 of BN.
    assert space.positions[-1].blocks[-1].params == 561 * 1152 + 2 * 2624


def test_squeeze_excitation_by_hand() -> None:
    block = mbconv(16, 16, kernel_size=5, expansion=3, squeeze_excitation=True)
    plain = mbconv(16, 16, kernel_size=5, expansion=3)
    squeeze = SqueezeExcitation(48, 16)  # a quarter of 48 is 12, the next multiple of 8 is 16
    assert block.layers == (*plain.layers[:2], squeeze, plain.layers[2])
    assert block.residual
    assert block.name == "mb3_k5_se"
    assert squeeze.params == 48 * 16 + 16 + 16 * 48 + 48
    assert squeeze.flops((48, 7, 7)) == 2 * 48 * 16
    assert block.params == plain.params + squeeze.params
    assert block.flops((16, 7, 7)) == plain.flops((16, 7, 7)) + squeeze.flops((48, 7, 7))


def test_digits_space_spans_small_to_large() -> None:
    space = digits_space()
    assert space.input_shape == (1, 8, 8)
    assert space.search_space.num_variables == 6
    assert space.search_space.num_architectures == 10_000
    for cost in space.costs.values():
        assert cost.minimum < 0.25 * cost.maximum


@pytest.mark.parametrize("factory", [nas_bench_macro_space, cifar10_mobile_space, digits_space, imagenet_mobile_space])
def test_shipped_spaces_take_classes_size_and_width(factory) -> None:
    wide = factory(num_classes=7, width_multiplier=0.5, image_size=16)
    assert wide.num_classes == 7
    assert wide.input_shape[1:] == (16, 16)
    assert wide.costs["params"].maximum < factory().costs["params"].maximum


@pytest.mark.parametrize("multiplier", [0.1, 0.25, 0.35, 0.5, 0.75, 1.0, 1.4])
def test_scale_width_is_the_rule_of_the_field(multiplier: float) -> None:
    for channels in (16, 24, 32, 64, 96, 160, 320, 1280):
        assert scale_width(channels, multiplier) == _make_divisible(channels * multiplier, 8)


def test_a_space_of_ones_own_and_a_latency_table() -> None:
    space = NetworkSpace(
        name="mine",
        input_shape=(3, 9, 9),
        stem=STEM,
        positions=(
            Position("first", (mbconv(16, 32, kernel_size=3, expansion=3, stride=2),)),
            Position("second", (mbconv(32, 32, 3, 1), mbconv(32, 32, 5, 6), skip())),
        ),
        head=Head(32, 4),
    )
    assert space.input_shapes == ((16, 9, 9), (32, 5, 5), (32, 5, 5))
    assert space.search_space.describe((0, 2)) == "mb3_k3 skip"
    # By hand, for (0, 2): stem 3*16*9 weights + 32 of BN; MBConv 16*48 + 48*9 + 48*32 + 2*(48 + 48 + 32);
    # head 33 * 4. FLOPs: the stem and the expansion on 9x9, the rest on 5x5.
    assert space.costs["params"]([[0, 2]]) == 464 + 2992 + 132
    assert space.costs["flops"]([[0, 2]]) == (432 + 768) * 81 + (432 + 1536) * 25 + 128
    latency_ms = {"mb3_k3": 2.0, "mb1_k3": 1.0, "mb6_k5": 5.0}
    cost = space.additive_cost("latency", lambda block, _: latency_ms.get(block.name, 0.0), unit="ms")
    assert isinstance(cost, AdditiveCost)
    assert cost([[0, 0], [0, 1], [0, 2]]).tolist() == [3.0, 7.0, 2.0]


def test_docstring_example_runs() -> None:
    result = doctest.testmod(multinas_ray.spaces.network)
    assert result.attempted >= 3
    assert result.failed == 0


def test_mbconv_layers() -> None:
    block = mbconv(16, 16, kernel_size=5, expansion=3)
    assert block.name == "mb3_k5"
    assert block.residual
    assert block.layers == (
        ConvLayer(16, 48, activation="relu6"),
        ConvLayer(48, 48, 5, groups=48, activation="relu6"),
        ConvLayer(48, 16, activation=None),
    )
    assert not mbconv(16, 16, 3, 3, stride=2).residual
    assert not mbconv(16, 24, 3, 3).residual
    assert [layer.kernel_size for layer in mbconv(16, 24, 3, 1).layers if isinstance(layer, ConvLayer)] == [3, 1]


def test_to_dict_is_plain_json_and_the_fingerprint_its_hash() -> None:
    space = one_position(mbconv(16, 16, 3, 3), skip())
    assert json.loads(json.dumps(space.to_dict())) == space.to_dict()
    assert one_position(mbconv(16, 16, 3, 3), skip()).fingerprint == space.fingerprint
    changed = [
        replace(space, name="other"),
        replace(space, input_shape=(3, 16, 16)),
        replace(space, head=Head(16, 11)),
        one_position(mbconv(16, 16, 3, 3), skip("none")),
        one_position(mbconv(16, 16, 3, 3, activation="relu"), skip()),
        one_position(Block("mb3_k3", mbconv(16, 16, 3, 3).layers, residual=False), skip()),
        one_position(skip(), mbconv(16, 16, 3, 3)),
        one_position(Block("mb3_k3", mbconv(16, 16, 3, 3, squeeze_excitation=True).layers, residual=True), skip()),
    ]
    assert len({space.fingerprint, *(other.fingerprint for other in changed)}) == 9


def test_a_space_survives_pickling() -> None:
    space = digits_space()
    assert space.costs["params"].maximum > 0  # cached results travel too
    copy = pickle.loads(pickle.dumps(space))
    assert copy == space
    assert copy.fingerprint == space.fingerprint
    assert (copy.costs["params"].table == space.costs["params"].table).all()


def test_fingerprint_is_equal_in_another_process_and_no_torch_is_loaded() -> None:
    code = (
        "import sys; from multinas_ray.spaces import digits_space; print(digits_space().fingerprint);"
        "assert not {'torch', 'ray'} & set(sys.modules), 'a heavy import'"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == digits_space().fingerprint


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: one_position(mbconv(16, 16, 3, 3), mbconv(16, 16, 3, 6, stride=2)),
            "at position 'only' block 'mb3_k3' gives (16, 8, 8) and block 'mb6_k3' gives (16, 4, 4)",
        ),
        (
            lambda: one_position(skip(), mbconv(16, 24, 3, 3)),
            "block 'skip' gives (16, 8, 8) and block 'mb3_k3' gives (24, 8, 8): give them the same",
        ),
        (
            lambda: one_position(mbconv(24, 24, 3, 3)),
            "block 'mb3_k3' of position 'only' cannot take its input of shape (16, 8, 8): "
            "the input of a layer must have in_channels=24 channels, got 16",
        ),
        (
            lambda: one_position(skip(), input_shape=(1, 8, 8)),
            "the stem cannot take its input of shape (1, 8, 8)",
        ),
        (
            lambda: one_position(skip(), head=Head(32, 10)),
            "the head cannot take its input of shape (16, 8, 8)",
        ),
        (lambda: one_position(skip(), input_shape=(3, 8)), "NetworkSpace: input_shape[2] is missing"),
        (lambda: one_position(skip(), skip()), "variable 'only' has 'skip' at 0 and 1"),
        (lambda: one_position(), "variable 'only' has none"),
        (lambda: NetworkSpace("test", (3, 8, 8), STEM, (), HEAD), "at least one variable"),
        (lambda: Head(16, 1), "Head: num_classes must be at least 2, got 1"),
        (lambda: Block("b", (), residual=True), "block 'b' does not: set residual=False"),
        (lambda: Block("b", (ConvLayer(8, 8, stride=2),), residual=True), "keep channels and size"),
        (lambda: Block("b", (ConvLayer(8, 16),), residual=True), "keep channels and size"),
        (lambda: SqueezeExcitation(8, 0), "squeeze_channels must be at least 1, got 0"),
        (
            lambda: one_position(Block("se", (SqueezeExcitation(8, 8),))),
            "must have channels=8 channels, got 16",
        ),
        (lambda: ConvLayer(8, 8, kernel_size=2), "kernel_size must be odd, so that stride 1 keeps the shape, got 2"),
        (lambda: ConvLayer(8, 0), "ConvLayer: out_channels must be at least 1, got 0"),
        (lambda: ConvLayer(8, 8.0), "ConvLayer: out_channels must be a whole number, got 8.0"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: Block("b", (3,)), "Block: layers[0] must be a ConvLayer or must be a SqueezeExcitation, got 3"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: Block("b", residual="no"), "Block: residual must be True or False, got 'no'"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: Position("p", (3,)), "Position: blocks[0] must be a BlockDescription, got 3"),  # type: ignore[arg-type]  # wrong on purpose
        (lambda: ConvLayer(8, 12, groups=8), "groups must divide in_channels=8 and out_channels=12, got 8"),
        (lambda: ConvLayer(8, 8, activation="gelu"), "activation must be one of relu, relu6 or None, got 'gelu'"),  # type: ignore[arg-type]  # wrong on purpose
        (
            lambda: cifar10_mobile_space(width_multiplier=0.0),
            "cifar10_mobile_space: width_multiplier must be positive, got 0.0",
        ),
    ],
)
def test_errors_name_position_block_and_shapes(make, text) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        make()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10**400, r"the cost 'size' must be at most 1\.8e\+308 for each block"),
        (float("nan"), "the cost 'size' must be finite for each block, the block 'stem' on .* has nan"),
    ],
)
def test_a_measure_that_is_no_finite_number_is_told_with_its_block(value, text) -> None:
    with pytest.raises(ConfigError, match=text):
        digits_space().additive_cost("size", lambda block, shape: value)
