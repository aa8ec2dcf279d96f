import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.selection.naswot import Naswot
from multinas_ray.spaces import (
    Block,
    BlockDescription,
    ConvLayer,
    ElasticBlock,
    Head,
    NetworkSpace,
    Position,
    SqueezeExcitation,
    elastic_blocks,
    mbconv,
    peak_elements,
    skip,
    space_from_dict,
)
from multinas_ray.supernets import (
    BlockSupernet,
    accumulate_gradients,
    build_subnet,
    load_subnet,
    load_supernet,
    recalibrate_batch_norm,
    write_supernet,
)
from tests.support.narrow import present


def grouped(hidden: int, channels_per_group: int = 2) -> Block:
    """A convolution of groups of channels between two 1x1 convolutions."""
    layers = (
        ConvLayer(8, hidden),
        ConvLayer(hidden, hidden, 3, stride=2, groups=hidden // channels_per_group),
        ConvLayer(hidden, 8, activation=None),
    )
    return Block(f"grouped{hidden}", layers)


STEM = Block("stem", (ConvLayer(3, 8, 3),))
WIDTHS = elastic_blocks([mbconv(8, 8, 3, each, squeeze_excitation=True) for each in (6, 2, 4)])
KEEP = (*WIDTHS, skip())
REDUCE = (*elastic_blocks([grouped(4), grouped(8)]), mbconv(8, 8, 5, 2, stride=2))
POSITIONS = (Position("a", KEEP), Position("b", KEEP), Position("c", REDUCE))
SPACE = NetworkSpace("elastic", (3, 6, 6), STEM, POSITIONS, Head(8, 5))
ROWS = SPACE.search_space.enumerate()


@pytest.fixture
def supernet() -> BlockSupernet:
    return BlockSupernet(SPACE, norm_batch_size=4, seed=0).double()


def images(num_images: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_images, 3, 6, 6, generator=generator, dtype=torch.float64)


def ordinary(block: BlockDescription) -> Block:
    assert isinstance(block, Block)
    return Block(block.name, block.layers, block.residual)


def first_channels(narrow: BlockDescription, module: nn.Module) -> dict[str, torch.Tensor]:
    """The first channels of a wide block's module, told by each layer's channels and not by the shapes of weights."""
    cut = {}
    for index, layer in enumerate(ordinary(narrow).layers):
        inputs, outputs = layer.in_channels, layer.out_channels
        if isinstance(layer, SqueezeExcitation):
            inner = layer.squeeze_channels
            cut[f"{index}.fc1.weight"] = module.get_parameter(f"{index}.fc1.weight")[:inner, :inputs]
            cut[f"{index}.fc1.bias"] = module.get_parameter(f"{index}.fc1.bias")[:inner]
            cut[f"{index}.fc2.weight"] = module.get_parameter(f"{index}.fc2.weight")[:outputs, :inner]
            cut[f"{index}.fc2.bias"] = module.get_parameter(f"{index}.fc2.bias")[:outputs]
            continue
        cut[f"{index}.conv.weight"] = module.get_parameter(f"{index}.conv.weight")[:outputs, : inputs // layer.groups]
        cut[f"{index}.norm.weight"] = module.get_parameter(f"{index}.norm.weight")[:outputs]
        cut[f"{index}.norm.bias"] = module.get_parameter(f"{index}.norm.bias")[:outputs]
    return cut


def test_the_widest_of_a_position_has_the_weights() -> None:
    assert {block.within for block in WIDTHS} == {mbconv(8, 8, 3, 6, squeeze_excitation=True)}
    supernet = BlockSupernet(SPACE, norm_batch_size=4, seed=0)
    widest = 2 * KEEP[0].params + REDUCE[1].params + REDUCE[2].params
    assert sum(each.numel() for each in supernet.parameters()) == STEM.params + widest + SPACE.head.params
    assert SPACE.supernet_params == STEM.params + widest + SPACE.head.params


@pytest.mark.parametrize(("position", "widest", "narrow"), [(0, 0, 1), (1, 0, 2), (2, 1, 0)])
def test_a_narrow_block_has_the_first_channels_of_the_widest(supernet, position, widest, narrow) -> None:
    architecture = [3, 3, 2]
    architecture[position] = narrow
    subnet = supernet.extract(architecture)
    whole = supernet.block(position, widest).whole
    expected = first_channels(SPACE.positions[position].blocks[narrow], whole)
    found = dict(subnet.get_submodule(f"blocks.{position}").named_parameters())
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        assert torch.equal(found[name], each)


def test_every_network_alone_computes_what_its_path_does(supernet) -> None:
    batch = images()
    for row, logits in zip(ROWS, supernet(batch, ROWS), strict=True):
        subnet = supernet.extract(row)
        torch.testing.assert_close(subnet(batch), logits, rtol=1e-10, atol=1e-10)
        assert sum(each.numel() for each in subnet.parameters()) == SPACE.costs["params"](row[None])[0]


def test_costs_are_those_of_the_ordinary_blocks() -> None:
    for position, shape in zip(SPACE.positions, SPACE.input_shapes[:-1], strict=True):
        for block in position.blocks:
            alone = ordinary(block)
            measures = [
                (each.params, each.flops(shape), each.activations(shape), peak_elements(each, shape))
                for each in (block, alone)
            ]
            assert measures[0] == measures[1]
    assert SPACE.skips_DC.sum() == 2
    assert SPACE.equivalence.num_networks == (1 + 3 + 9) * 3


def test_gradients_are_those_of_the_cut_networks_added_up(supernet) -> None:
    labels, rows = torch.arange(4), np.array([[1, 3, 2], [2, 3, 2]])
    accumulate_gradients(supernet, images(), labels, rows)
    gradient = supernet.block(0, 0).whole.get_parameter("0.conv.weight").grad
    expected = torch.zeros_like(gradient)
    for row in rows:
        subnet = supernet.extract(row)
        (nn.functional.cross_entropy(subnet(images()), labels) / 2).backward()
        part = present(subnet.get_parameter("blocks.0.0.conv.weight").grad)
        expected[: len(part)] += part
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)
    assert {each for each in supernet.parameters() if each.grad is not None} == set(supernet.touched_parameters(rows))


def test_a_cut_network_is_saved_loaded_and_exported(supernet, tmp_path) -> None:
    subnet = supernet.float().extract((1, 2, 0))
    recalibrate_batch_norm(subnet, [images().float()])
    torch.save(subnet.state_dict(), tmp_path / "weights.pt")
    again = load_subnet(SPACE, (1, 2, 0), tmp_path / "weights.pt", "").eval()
    exported = torch.export.export(again, (images().float(),)).module()
    for each in (again, exported):
        torch.testing.assert_close(each(images().float()), subnet(images().float()))
    assert again.state_dict().keys() == build_subnet(SPACE, (1, 2, 0)).state_dict().keys()
    with pytest.raises(StateError, match="does not hold the weights of this network"):
        load_subnet(SPACE, (2, 2, 0), tmp_path / "weights.pt", "")


def test_a_trained_supernet_is_written_and_read(supernet, tmp_path) -> None:
    supernet = supernet.float().to(memory_format=torch.channels_last)
    write_supernet(supernet, str(tmp_path))
    again = load_supernet(str(tmp_path), SPACE, 4)
    rows = [(1, 2, 0), (0, 3, 1)]
    torch.testing.assert_close(again(images().float(), rows), supernet(images().float(), rows))
    weights = torch.load(tmp_path / "supernet.pt", weights_only=True)["weights"]
    stored = {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in weights.values()}
    assert sum(stored.values()) == 4 * SPACE.supernet_params  # shared weights are written once


def test_naswot_sees_the_activations_of_narrow_blocks() -> None:
    """A path through elastic blocks promises exactly what it does if the same weights are in blocks of their own."""
    naswot = Naswot(SPACE)
    apart = [Position(each.name, tuple(map(ordinary, each.blocks))) for each in SPACE.positions]
    other = Naswot(dataclasses.replace(SPACE, positions=tuple(apart)))
    for row in ([1, 2, 0], [0, 1, 1], [3, 2, 0]):
        subnet = naswot._supernet.extract(row)
        for name in ("stem", "head"):
            other._supernet.get_submodule(name).load_state_dict(subnet.get_submodule(name).state_dict(), strict=False)
        for position, index in enumerate(row):
            state = subnet.get_submodule(f"blocks.{position}").state_dict()
            other._supernet.block(position, index).load_state_dict(state, strict=False)
        assert naswot(np.array([row])) == pytest.approx(other(np.array([row])), rel=1e-6)


def test_a_recorded_space_is_built_again() -> None:
    again = space_from_dict(json.loads(json.dumps(SPACE.to_dict())))
    assert again == SPACE
    assert again.fingerprint == SPACE.fingerprint
    apart = tuple(Position(each.name, tuple(map(ordinary, each.blocks))) for each in SPACE.positions)
    assert dataclasses.replace(SPACE, positions=apart).fingerprint != SPACE.fingerprint


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (mbconv(8, 8, 3, 2), mbconv(8, 8, 5, 4)),
        (mbconv(8, 8, 3, 4), mbconv(8, 8, 3, 2)),
        (mbconv(8, 8, 3, 1), mbconv(8, 8, 3, 2)),
        (mbconv(8, 8, 3, 2), mbconv(8, 8, 3, 4, activation="relu")),
        (mbconv(8, 8, 3, 2), mbconv(8, 8, 3, 4, squeeze_excitation=True)),
        (mbconv(8, 16, 3, 2), mbconv(8, 16, 3, 4, stride=2)),
        (mbconv(8, 8, 3, 2), mbconv(8, 16, 3, 2)),
        (Block("a", mbconv(8, 8, 3, 2).layers), mbconv(8, 8, 3, 4)),
        (grouped(4), grouped(8, channels_per_group=4)),
    ],
)
def test_blocks_that_are_no_parts_are_refused(narrow, wide) -> None:
    with pytest.raises(ConfigError, match=f"fewer channels .*, '{narrow.name}' is not like '{wide.name}': give both"):
        ElasticBlock(narrow.name, narrow.layers, narrow.residual, within=wide)


def test_elastic_blocks_are_not_nested() -> None:
    with pytest.raises(ConfigError, match="must be an ordinary block, got the elastic block 'mb6_k3_se'"):
        elastic_blocks(WIDTHS)


def test_no_blocks_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one block, got none"):
        elastic_blocks([])


def test_a_damaged_description_is_told() -> None:
    described = SPACE.to_dict()
    del described["positions"][0]["blocks"][0]["within"]
    with pytest.raises(StateError, match="does not describe a ElasticBlock"):
        space_from_dict(described)
