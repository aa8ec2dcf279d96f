"""Blocks of one's own that share the weights of a larger one."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, PartialBlock, Position, mbconv
from multinas_ray.supernets import BlockSupernet, build_block, step_touched


class Bottleneck(nn.Module):
    """A hidden layer with a fixed gain of each channel, which is a buffer."""

    def __init__(self, hidden: int, norm) -> None:
        super().__init__()
        self.into, self.norm, self.out = nn.Conv2d(4, hidden, 1), norm(hidden), nn.Conv2d(hidden, 4, 1)
        self.activation = nn.ReLU()
        self.register_buffer("gain", torch.linspace(1, 2, hidden)[:, None, None])

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.out(self.gain * self.activation(self.norm(self.into(input))))


@dataclass(frozen=True)
class Wide:
    name: str
    hidden: int

    @property
    def params(self) -> int:
        return 11 * self.hidden + 4

    def output_shape(self, input_shape):
        return input_shape

    def flops(self, input_shape) -> int:
        return 8 * self.hidden * input_shape[1] * input_shape[2]

    def activations(self, input_shape) -> int:
        return 3 * self.hidden * input_shape[1] * input_shape[2]

    def to_dict(self) -> dict[str, Any]:
        return {"type": type(self).__name__, "name": self.name, "hidden": self.hidden}

    def build(self, norm) -> nn.Module:
        return Bottleneck(self.hidden, norm)


@dataclass(frozen=True)
class Part(Wide):
    within: Wide


WIDE = Wide("wide", 6)
STEM = Block("stem", (ConvLayer(3, 4, 3),))
BLOCKS = (Part("two", 2, WIDE), mbconv(4, 4, 3, 2), Part("five", 5, WIDE), WIDE)


def space_of(*blocks) -> NetworkSpace:
    return NetworkSpace("parts", (3, 4, 4), STEM, (Position("a", blocks), Position("b", blocks)), Head(4, 3))


@pytest.fixture
def supernet() -> BlockSupernet:
    return BlockSupernet(space_of(*BLOCKS), norm_batch_size=4, seed=0).double()


def images(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_only_what_says_so_is_a_part() -> None:
    assert [isinstance(block, PartialBlock) for block in BLOCKS] == [True, False, True, False]


def test_parts_share_weights_within_their_position_only(supernet) -> None:
    space = supernet.space
    assert sum(each.numel() for each in supernet.parameters()) == space.supernet_params
    apart = space_of(mbconv(4, 4, 3, 2), WIDE)  # a block that is no part has weights of its own
    assert space.supernet_params - apart.supernet_params == 2 * WIDE.params
    assert supernet.block(0, 0).whole is supernet.block(0, 2).whole
    assert supernet.block(0, 0).whole is not supernet.block(1, 0).whole


def test_parts_take_no_random_numbers(supernet) -> None:
    fewer = BlockSupernet(space_of(BLOCKS[0], BLOCKS[1], BLOCKS[3]), norm_batch_size=4, seed=0).double()
    torch.testing.assert_close(
        sorted(each.sum().item() for each in supernet.parameters()),
        sorted(each.sum().item() for each in fewer.parameters()),
    )


def test_every_network_alone_computes_what_its_path_does(supernet) -> None:
    rows = supernet.space.search_space.enumerate()
    for row, logits in zip(rows, supernet(images(), rows), strict=True):
        subnet = supernet.extract(row)
        torch.testing.assert_close(subnet(images()), logits, rtol=1e-10, atol=1e-10)
        assert sum(each.numel() for each in subnet.parameters()) == supernet.space.costs["params"](row[None])[0]


def test_modules_of_a_part_are_found_and_moved(supernet) -> None:
    seen = []
    for module in supernet.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1]))
    supernet(images(), [(2, 0)])
    assert seen == [4, 5, 2]  # the stem, then the hidden channels of both blocks
    assert {each.dtype for each in supernet.state_dict().values()} == {torch.float64}


def test_a_state_is_loaded_again(supernet) -> None:
    other = BlockSupernet(supernet.space, norm_batch_size=4, seed=1).double()
    other.load_state_dict(supernet.state_dict())
    rows = [(0, 2), (3, 1)]
    torch.testing.assert_close(other(images(), rows), supernet(images(), rows), rtol=0, atol=0)


def test_touched_parameters_come_once_and_have_a_gradient(supernet) -> None:
    supernet(images(), [(0, 0), (2, 0)]).square().sum().backward()
    touched = supernet.touched_parameters([(0, 0), (2, 0)])
    assert len(touched) == len(set(touched))
    assert set(touched) == {each for each in supernet.parameters() if each.grad is not None}
    assert len(supernet.touched_parameters([(0, 0), (2, 0)])) == len(supernet.touched_parameters([(2, 0)]))


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_step_moves_what_was_used_and_its_state_only(supernet, kind) -> None:
    """Against blocks that are apart: the narrow one's weights move alike, and the rest of the wide one's do not."""
    make = {
        "sgd": lambda given: torch.optim.SGD(given, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        "adamw": lambda given: torch.optim.AdamW(given, lr=0.1, weight_decay=0.1),
    }[kind]
    alone = supernet.extract((0, 1))
    optimizer, of_alone = make(supernet.parameters()), make(alone.parameters())
    whole = supernet.block(0, 0).whole
    before = {name: each.clone() for name, each in whole.state_dict().items()}
    for seed in range(3):
        for network, steps in ((supernet, optimizer), (alone, of_alone)):
            steps.zero_grad(set_to_none=True)
            outputs = network(images(seed), [(0, 1)])[0] if network is supernet else network(images(seed))
            outputs.square().sum().backward()
        step_touched(optimizer, supernet, [(0, 1)])
        of_alone.step()
    weights = supernet.extract((0, 1)).state_dict()
    for name, each in alone.named_parameters():
        torch.testing.assert_close(weights[name], each.detach(), rtol=1e-10, atol=1e-10)
    assert torch.equal(whole.into.weight[2:], before["into.weight"][2:])
    assert torch.equal(whole.out.weight[:, 2:], before["out.weight"][:, 2:])
    momentum = optimizer.state[whole.into.weight]["momentum_buffer" if kind == "sgd" else "exp_avg"]
    assert momentum[:2].all()
    assert not momentum[2:].any()


def test_a_step_of_the_widest_moves_all(supernet) -> None:
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.1)
    supernet(images(), [(0, 1), (2, 1)]).square().sum().backward()
    before = supernet.block(0, 0).whole.into.weight.detach().clone()
    step_touched(optimizer, supernet, [(0, 1), (2, 1)])
    moved = (supernet.block(0, 0).whole.into.weight != before).flatten(1).any(1)
    assert moved.tolist() == [True] * 5 + [False]


def test_a_block_that_does_not_fit_into_its_whole_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"into\.weight of block 'more' has the shape \(7, 4, 1, 1\) and"):
        BlockSupernet(space_of(Part("more", 7, WIDE)), norm_batch_size=4, seed=0)


def test_alone_a_part_is_built_like_any_block() -> None:
    assert sum(each.numel() for each in build_block(BLOCKS[0], nn.BatchNorm2d).parameters()) == BLOCKS[0].params
