import re

import pytest
import torch
from torch import nn

from multinas_ray.errors import ConfigError
from multinas_ray.supernets import GhostBatchNorm2d


def normalised_by_groups(layer, images, group_size):
    """Reference: an ordinary BatchNorm2d in training mode for each group."""
    outputs = []
    for group in images.split(group_size):
        plain = nn.BatchNorm2d(images.shape[1]).to(images.dtype)
        plain.load_state_dict(layer.state_dict(), strict=False)
        outputs.append(plain(group))
    return torch.cat(outputs)


def layer_and_images(group_size, num_images):
    generator = torch.Generator().manual_seed(0)
    layer = GhostBatchNorm2d(3, group_size).double()
    with torch.no_grad():
        layer.weight.uniform_(0.5, 2.0, generator=generator)
        layer.bias.normal_(generator=generator)
    return layer, torch.randn(num_images, 3, 4, 5, dtype=torch.float64, generator=generator) + 1.0


@pytest.mark.parametrize("num_images", [4, 8, 12])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_equals_batch_norm_of_each_group(num_images, memory_format) -> None:
    layer, images = layer_and_images(4, num_images)
    images = images.contiguous(memory_format=memory_format).requires_grad_()
    output = layer(images)
    expected = normalised_by_groups(layer, images, 4)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    assert output.is_contiguous(memory_format=memory_format)
    probe = torch.randn(output.shape, dtype=output.dtype)
    (gradient,) = torch.autograd.grad((output * probe).sum(), images)
    (expected_gradient,) = torch.autograd.grad((expected * probe).sum(), images)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-10, atol=1e-10)


def test_groups_do_not_see_each_other() -> None:
    layer, images = layer_and_images(4, 8)
    changed = images.clone()
    changed[4:] *= 3.0
    assert torch.equal(layer(changed)[:4], layer(images)[:4])
    assert not torch.allclose(GhostBatchNorm2d(3, 8).double()(changed)[:4], layer(images)[:4])


def test_mode_eval_uses_the_batch_too_and_the_state_is_scale_and_shift() -> None:
    layer, images = layer_and_images(4, 8)
    assert torch.equal(layer.eval()(images), layer.train()(images))
    assert set(layer.state_dict()) == {"weight", "bias"}
    assert "group_size=4" in repr(layer)


@pytest.mark.parametrize("num_images", [2, 6, 0])
def test_a_batch_of_broken_groups_is_refused(num_images) -> None:
    layer, images = layer_and_images(4, num_images)
    text = f"whole groups of norm_batch_size=4 images, got {num_images} images: use a multiple"
    with pytest.raises(ConfigError, match=re.escape(text)):
        layer(images)


def test_a_group_of_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 images, got 1"):
        GhostBatchNorm2d(3, 1)
