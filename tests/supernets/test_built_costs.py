"""Costs of the description against the modules that are built from it."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from multinas_ray.spaces import (
    Block,
    NetworkSpace,
    SqueezeExcitation,
    cifar10_mobile_space,
    digits_space,
    imagenet_mobile_space,
    nas_bench_macro_space,
)
from multinas_ray.supernets import BlockSupernet, build_block, build_subnet

pytestmark = pytest.mark.slow

SMALL = [digits_space, nas_bench_macro_space, cifar10_mobile_space]
IMAGENET: list[Callable[..., NetworkSpace]] = [
    imagenet_mobile_space,
    partial(imagenet_mobile_space, squeeze_excitation=True),
]


def built_costs(module, input_shape) -> tuple[int, int]:
    """Parameters and multiply-adds of a module, counted by torch."""
    images = torch.zeros(2, *input_shape)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(images)
    flops, rest = divmod(counter.get_total_flops(), 2 * 2)  # two images; torch counts multiply and add
    assert rest == 0
    return sum(parameter.numel() for parameter in module.parameters()), flops


def described_costs(space, architectures) -> list[tuple[float, float]]:
    return list(zip(*(space.costs[name](architectures).tolist() for name in ("params", "flops")), strict=True))


def test_every_network_of_a_tiny_space(tiny_space) -> None:
    rows = tiny_space.search_space.enumerate()
    built = [built_costs(build_subnet(tiny_space, row), tiny_space.input_shape) for row in rows]
    assert built == described_costs(tiny_space, rows)


@pytest.mark.parametrize("factory", [*SMALL, *IMAGENET])
def test_smallest_largest_and_random_networks(factory) -> None:
    space = factory()
    extremes = [space.costs["params"].argmin(), space.costs["params"].argmax()]
    rows = np.concatenate([extremes, space.search_space.random(3, np.random.default_rng(0))])
    built = [built_costs(build_subnet(space, row), space.input_shape) for row in rows]
    assert built == described_costs(space, rows)


@pytest.mark.parametrize("factory", [*SMALL, partial(imagenet_mobile_space, squeeze_excitation=True)])
def test_200_random_networks_as_sums_of_their_modules(factory) -> None:
    space = factory()
    supernet = BlockSupernet(space, norm_batch_size=2, seed=0)
    *shapes, head_shape = space.input_shapes
    stem, head = built_costs(supernet.stem, space.input_shape), built_costs(supernet.head, head_shape)
    candidates = [
        [built_costs(block, shape) for block in position.children()]
        for position, shape in zip(supernet.positions, shapes, strict=True)
    ]
    rows = space.search_space.random(200, np.random.default_rng(1))
    for row, described in zip(rows, described_costs(space, rows), strict=True):
        parts = [stem, head, *(blocks[choice] for blocks, choice in zip(candidates, row, strict=True))]
        assert tuple(sum(column) for column in zip(*parts, strict=True)) == described


@pytest.mark.parametrize("image_size", [5, 7, 11])
def test_odd_image_sizes(image_size) -> None:
    space = digits_space(image_size=image_size)
    rows = space.search_space.random(5, np.random.default_rng(image_size))
    built = [built_costs(build_subnet(space, row), space.input_shape) for row in rows]
    assert built == described_costs(space, rows)


@pytest.mark.parametrize("factory", [*SMALL, *(partial(space, image_size=64) for space in IMAGENET)])
def test_activations_are_what_autograd_keeps(factory) -> None:
    space = factory(width_multiplier=0.25)
    batch_size = 16
    supernet = BlockSupernet(space, batch_size, seed=0)
    images = torch.randn(batch_size, *space.input_shape)
    not_counted = {parameter.data_ptr() for parameter in supernet.parameters()} | {images.data_ptr()}
    for architecture in space.search_space.random(3, np.random.default_rng(0)):
        kept: dict[int, int] = {}

        def pack(tensor, kept=kept):
            if tensor.data_ptr() not in not_counted and tensor.dim() > 1:  # vectors are BN statistics
                kept[tensor.data_ptr()] = max(kept.get(tensor.data_ptr(), 0), tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            logits = supernet(images, [architecture])
            loss = nn.functional.cross_entropy(logits[0], torch.zeros(batch_size, dtype=torch.long))
        estimate = batch_size * space.activations([architecture])[0]
        assert sum(kept.values()) == pytest.approx(estimate, rel=0.05)
        assert loss.requires_grad  # the graph was alive, so no address was used twice


def test_activations_of_squeeze_excitation() -> None:
    layer = SqueezeExcitation(6, 4)
    module = build_block(Block("se", (layer,)), nn.BatchNorm2d)
    images = torch.randn(3, 6, 5, 5, requires_grad=True)
    not_counted = {parameter.data_ptr() for parameter in module.parameters()} | {images.data_ptr()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = module(images)  # what follows keeps it
    elements = output.numel() + sum(tensor.numel() for address, tensor in kept.items() if address not in not_counted)
    assert elements == 3 * layer.activations((6, 5, 5))
