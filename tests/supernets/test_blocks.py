"""Modules against torch's functions called by hand."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from multinas_ray.spaces import Block, ConvLayer, Head, SqueezeExcitation, mbconv, skip
from multinas_ray.supernets import build_block


def by_hand(images, module, strides, groups, activations):
    """Convolution, normalisation by the batch, activation, for each layer."""
    for layer, stride, group, activation in zip(module, strides, groups, activations, strict=True):
        weight = layer.conv.weight
        images = functional.conv2d(images, weight, None, stride, weight.shape[-1] // 2, 1, group)
        mean, variance = images.mean((0, 2, 3), keepdim=True), images.var((0, 2, 3), keepdim=True, correction=0)
        images = activation((images - mean) / (variance + 1e-5).sqrt())
    return images


def identity(values):
    return values


@pytest.mark.parametrize(("name", "upper"), [("relu", None), ("relu6", 6.0)])
@pytest.mark.parametrize(("out_channels", "stride", "residual"), [(8, 1, True), (8, 2, False), (6, 1, False)])
def test_mbconv(name, upper, out_channels, stride, residual) -> None:
    images = torch.randn(64, 8, 7, 7, generator=torch.Generator().manual_seed(0)) ** 5  # some beyond 6
    block = mbconv(8, out_channels, kernel_size=5, expansion=3, stride=stride, activation=name)
    module = build_block(block, nn.BatchNorm2d)

    def activation(values):
        return values.clamp(0.0, upper)

    output = by_hand(images, module, (1, stride, 1), (1, 24, 1), (activation, activation, identity))
    expected = output + images if residual else output
    torch.testing.assert_close(module(images), expected, rtol=1e-4, atol=1e-4)
    assert tuple(expected.shape[1:]) == block.output_shape((8, 7, 7))


def test_relu_and_relu6_differ_where_it_matters() -> None:
    images = torch.zeros(64, 1, 1, 1)
    images[0] = 1.0  # one of 64 apart: normalised to nearly 8
    highest = {}
    for name in ("relu", "relu6"):
        layer = ConvLayer(1, 1, activation=name)
        module = build_block(Block(name, (layer,)), nn.BatchNorm2d)
        nn.init.ones_(module.get_parameter("0.conv.weight"))
        highest[name] = module(images).max().item()
    assert highest["relu"] == pytest.approx(63**0.5, rel=0.01)
    assert highest["relu6"] == 6.0


def test_squeeze_excitation() -> None:
    module = build_block(Block("se", (SqueezeExcitation(8, 3),)), nn.BatchNorm2d)
    narrow, wide = (parameter for parameter in module.parameters() if parameter.ndim > 1)
    for bias in (parameter for parameter in module.parameters() if parameter.ndim == 1):
        assert bias.eq(0.0).all()
        nn.init.normal_(bias)
    images = torch.randn(64, 8, 5, 5, generator=torch.Generator().manual_seed(0)) * 5  # some beyond the sigmoid's bend
    before = images.clone()
    squeezed = images.mean((2, 3)) @ narrow[:, :, 0, 0].T + module.get_parameter("0.fc1.bias")
    scale = ((squeezed.clamp(0.0) @ wide[:, :, 0, 0].T + module.get_parameter("0.fc2.bias") + 3) / 6).clamp(0.0, 1.0)
    torch.testing.assert_close(module(images), images * scale[:, :, None, None])
    assert images.equal(before)
    assert scale.unique().numel() > 2


def test_skip_is_the_input_itself() -> None:
    images = torch.randn(2, 3, 4, 4)
    assert build_block(skip(), nn.BatchNorm2d)(images) is images


def test_head() -> None:
    features = Block("features", (ConvLayer(4, 6),))
    module = build_block(Head(6, 3, features), nn.BatchNorm2d)
    images = torch.randn(8, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    pooled = by_hand(images, module.features, (1,), (1,), (torch.relu,)).mean((2, 3))
    weight, bias = (module.get_parameter(f"classifier.{name}") for name in ("weight", "bias"))
    nn.init.normal_(bias)
    expected = pooled @ weight.T + bias
    torch.testing.assert_close(module(images), expected, rtol=1e-4, atol=1e-5)
    assert weight.std() < 0.02
