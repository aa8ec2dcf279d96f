import re
import weakref
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import Block, Position, cifar10_mobile_space, digits_space, mbconv
from multinas_ray.supernets import (
    BlockSupernet,
    accumulate_gradients,
    build_block,
    build_subnet,
)

SHARING = {
    "none": [[0, 0, 0], [1, 0, 0]],
    "identical": [[1, 1, 0]] * 3,
    "partial": [[1, 1, 0], [0, 2, 1], [1, 1, 2], [0, 0, 0], [1, 2, 0], [1, 1, 0]],
}


def batch(space, num_images=8, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(num_images, *space.input_shape, generator=generator, dtype=dtype)
    return images, torch.randint(0, space.num_classes, (num_images,), generator=generator)


def path_logits(supernet, images, architecture):
    """Reference: the path's modules called one after the other."""
    features = supernet.stem(images)
    for position, choice in enumerate(architecture):
        features = supernet.positions[position][choice](features)
    return supernet.head(features)


@pytest.mark.parametrize("rows", SHARING.values(), ids=SHARING)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_shared_prefixes_equal_one_by_one(tiny_space, rows, dtype, tolerance) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1).to(dtype)
    images, labels = batch(tiny_space, dtype=dtype)

    def logits_and_gradients(logits):
        supernet.zero_grad()
        nn.functional.cross_entropy(logits.flatten(0, 1), labels.repeat(len(rows))).backward()
        return logits.detach(), [parameter.grad for parameter in supernet.parameters()]

    logits, gradients = logits_and_gradients(supernet(images, rows))
    one_by_one = torch.stack([path_logits(supernet, images, row) for row in rows])
    expected_logits, expected_gradients = logits_and_gradients(one_by_one)
    torch.testing.assert_close(logits, expected_logits, rtol=tolerance, atol=tolerance)
    assert [g is None for g in gradients] == [g is None for g in expected_gradients]
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        if expected is not None:
            torch.testing.assert_close(gradient, expected, rtol=tolerance, atol=tolerance)
    assert max(g.abs().max() for g in gradients if g is not None) > 1e-2  # the tolerance means something


@pytest.mark.parametrize("rows", SHARING.values(), ids=SHARING)
@pytest.mark.parametrize("with_gradients", [True, False])
def test_each_node_of_the_prefix_tree_is_computed_once(tiny_space, rows, with_gradients) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1)
    forward: Counter[object] = Counter()
    backward: Counter[object] = Counter()
    names: dict[object, nn.Module] = {"stem": supernet.stem, "head": supernet.head}
    names |= {(d, c): supernet.block(d, c) for d, k in enumerate((2, 3, 3)) for c in range(k)}
    for name, module in names.items():
        module.register_forward_hook(lambda *_, name=name: forward.update([name]))
        if with_gradients and not isinstance(module, nn.Identity) and name != "head":
            last_conv = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)][-1]
            last_conv.register_forward_hook(
                lambda *call, name=name: call[-1].register_hook(lambda _: backward.update([name])) and None
            )
    images, labels = batch(tiny_space)
    if with_gradients:
        accumulate_gradients(supernet, images, labels, rows)
    else:
        with torch.no_grad():
            supernet(images, rows)
    expected: Counter[object] = Counter({"stem": 1, "head": len({tuple(row) for row in rows})})
    for depth in range(3):
        prefixes = {tuple(row[: depth + 1]) for row in rows}
        expected.update((depth, prefix[-1]) for prefix in prefixes)
    assert forward == expected
    if with_gradients:
        own = {name for name in expected if not isinstance(names[name], nn.Identity)} - {"head"}
        assert backward == Counter({name: expected[name] for name in own})


def test_feature_maps_are_released_depth_first_without_gradients() -> None:
    space = digits_space()
    supernet = BlockSupernet(space, 4, seed=0)
    alive: dict[int, weakref.ref[torch.Tensor]] = {}
    most = calls = 0

    def count(module, inputs, output):
        nonlocal most, calls
        alive[id(output)] = weakref.ref(output)
        most, calls = max(most, sum(ref() is not None for ref in alive.values())), calls + 1

    for module in (supernet.stem, *(block for position in supernet.positions for block in position.children())):
        module.register_forward_hook(count)
    # All part at the first position: a node's output is needed by its one child only.
    rows = np.zeros((5, 6), dtype=int)
    rows[:, 0] = range(5)
    images, _ = batch(space, 4)
    with torch.no_grad():
        supernet(images, rows)
    assert calls == 1 + 5 * 6
    assert most <= 4  # the stem's, the block's input and output, one not yet rebound


def test_logits_keep_the_order_given(tiny_space) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=1)
    images, _ = batch(tiny_space)
    rows = tiny_space.search_space.enumerate()
    order = np.random.default_rng(0).permutation(len(rows))
    logits = supernet(images, rows)
    assert torch.equal(supernet(images, rows[order]), logits[order])
    assert logits.shape == (18, 8, 5)
    assert len(torch.unique(logits.flatten(1), dim=0)) == 18


def test_two_ghost_groups_equal_two_half_batches(tiny_space) -> None:
    supernet = BlockSupernet(tiny_space, 4, seed=1).double()
    images, _ = batch(tiny_space, dtype=torch.float64)
    rows = SHARING["partial"]
    halves = torch.cat([supernet(images[:4], rows), supernet(images[4:], rows)], dim=1)
    torch.testing.assert_close(supernet(images, rows), halves, rtol=1e-10, atol=1e-10)


def test_channels_last_is_kept_by_every_module() -> None:
    space = digits_space()
    supernet = BlockSupernet(space, 4, seed=0).to(memory_format=torch.channels_last)
    formats = []
    for module in supernet.modules():
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.ReLU):
            module.register_forward_hook(
                lambda _, inputs, output: formats.append(output.is_contiguous(memory_format=torch.channels_last))
            )
    images, _ = batch(space, 8)
    supernet(images.contiguous(memory_format=torch.channels_last), space.search_space.enumerate()[::777])
    assert len(formats) > 100
    assert all(formats)


def test_weights_are_a_function_of_the_seed_alone(tiny_space) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = BlockSupernet(tiny_space, 8, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = BlockSupernet(tiny_space, 4, seed=3), BlockSupernet(tiny_space, 8, seed=4)
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    weights = [supernet.stem.get_parameter("0.conv.weight") for supernet in (first, other)]
    assert not torch.equal(*weights)


def test_initial_scales() -> None:
    # 64 * 6 * 49 depthwise and 64 * 384 pointwise weights: the sample deviation is within 4 % at 5 sigma.
    described = cifar10_mobile_space().positions[5].blocks[5]
    assert isinstance(described, Block)
    block = build_block(described, nn.BatchNorm2d)
    hidden, width = described.layers[1].in_channels, described.layers[2].out_channels
    assert block.get_parameter("1.conv.weight").std().item() == pytest.approx((2 / 49) ** 0.5, rel=0.04)
    assert block.get_parameter("2.conv.weight").std().item() == pytest.approx((2 / width) ** 0.5, rel=0.04)
    assert block.get_parameter("0.conv.weight").std().item() == pytest.approx((2 / hidden) ** 0.5, rel=0.04)
    supernet = BlockSupernet(digits_space(), 8, seed=0)
    images, _ = batch(digits_space())
    logits = supernet(images, digits_space().search_space.random(20, np.random.default_rng(0)))
    assert 0 < logits.std() < 1  # starts near a uniform guess


def test_touched_parameters_are_those_with_gradients_in_a_fixed_order(tiny_space) -> None:
    supernet, other = (BlockSupernet(tiny_space, 8, seed=seed) for seed in (1, 2))
    rows = [[1, 1, 1], [1, 1, 0], [1, 2, 1]]
    images, labels = batch(tiny_space)
    accumulate_gradients(supernet, images, labels, rows)
    with_gradients = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}

    def names(net, architectures):
        name_of = {id(parameter): name for name, parameter in net.named_parameters()}
        return [name_of[id(parameter)] for parameter in net.touched_parameters(architectures)]

    assert set(names(supernet, rows)) == with_gradients
    assert len(names(supernet, rows)) == len(with_gradients)
    assert 0 < len(with_gradients) < len(list(supernet.parameters()))
    assert names(supernet, rows) == names(other, rows[::-1]) == names(other, rows[:2])
    modules = list(dict.fromkeys(re.findall(r"^(?:stem|head|positions\.\d\.\d)", "\n".join(names(other, rows)), re.M)))
    # The skip, choice 2 of the second position, has no parameters.
    assert modules == ["stem", "head", "positions.0.1", "positions.1.1", "positions.2.0", "positions.2.1"]


def test_errors(tiny_space) -> None:
    supernet = BlockSupernet(tiny_space, 8, seed=0)
    images, _ = batch(tiny_space)
    with pytest.raises(ConfigError, match="at least one architecture, got none"):
        supernet(images, np.empty((0, 3), dtype=int))
    with pytest.raises(ConfigError, match=re.escape("shape (N, 3)")):
        supernet(images, [[0, 0]])
    with pytest.raises(ConfigError, match="norm_batch_size=8 images, got 4"):
        supernet(images[:4], [[0, 0, 0]])


@dataclass(frozen=True)
class SqueezeBlock:
    """A block that the package does not know: a channel gate."""

    name: str
    channels: int

    @property
    def params(self) -> int:
        return self.channels**2 + 2 * self.channels

    def output_shape(self, input_shape):
        return input_shape

    def flops(self, input_shape) -> int:
        return self.channels**2

    def activations(self, input_shape) -> int:
        return 3 * self.channels

    def to_dict(self) -> dict[str, Any]:
        return {"type": "SqueezeBlock", "name": self.name, "channels": self.channels}


class Squeeze(nn.Module):
    def __init__(self, channels, norm) -> None:
        super().__init__()
        self.norm, self.gate = norm(channels), nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, inputs):
        return inputs * torch.sigmoid(self.gate(self.norm(inputs).mean((2, 3), keepdim=True)))


@dataclass(frozen=True)
class SelfBuiltBlock(SqueezeBlock):
    def build(self, norm) -> nn.Module:
        return Squeeze(self.channels, norm)


def test_a_block_that_builds_itself_needs_no_registration() -> None:
    assert isinstance(build_block(SelfBuiltBlock("squeeze", 8), nn.BatchNorm2d), Squeeze)


def test_a_block_of_ones_own(tiny_space) -> None:
    blocks = (SqueezeBlock("squeeze", 8), mbconv(8, 8, 3, 2))
    space = replace(tiny_space, positions=(*tiny_space.positions, Position("fourth", blocks)))
    with pytest.raises(ConfigError, match=r"block type SqueezeBlock: give it a method build\(norm\), or register"):
        BlockSupernet(space, 8, seed=0)

    @build_block.register
    def _(description: SqueezeBlock, norm) -> nn.Module:
        return Squeeze(description.channels, norm)

    supernet = BlockSupernet(space, 8, seed=0)
    images, labels = batch(space)
    rows = [[0, 0, 0, 0], [0, 0, 0, 1]]
    accumulate_gradients(supernet, images, labels, rows)
    assert supernet.block(3, 0).get_parameter("gate.weight").grad is not None
    assert torch.allclose(supernet.extract(rows[0])(images), supernet(images, rows)[0], atol=1e-5)
    counted = sum(parameter.numel() for parameter in build_subnet(space, rows[0]).parameters())
    assert space.costs["params"](rows)[0] == counted
