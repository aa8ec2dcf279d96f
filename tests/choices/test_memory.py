"""The memory of activations, by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from multinas_ray.choices import Choice, ElasticConv2d, WidthChoice, model_space, peak_memory
from multinas_ray.choices.memory import PeakMemory
from multinas_ray.spaces import cost_from_dict, register_model

PIXELS = 8 * 8 * 4  # bytes of a map


class Residual(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = images + self.layer(images)
        return features


@register_model
def of_known_memory() -> nn.Module:
    width = WidthChoice("width", [2, 5])
    first = ElasticConv2d(1, width, 3, padding=1)
    inverse = Residual(nn.Sequential(ElasticConv2d(width, 9, 1), ElasticConv2d(9, width, 1)))
    then = Choice("then", {"plain": ElasticConv2d(width, width, 1), "residual": inverse})
    return nn.Sequential(first, then, ElasticConv2d(width, 1, 1))


def test_the_memory_is_that_of_what_is_alive_at_once() -> None:
    cost = peak_memory(model_space(of_known_memory, (1, 8, 8)))
    expected = [
        1 + 2 + 2,  # the model's input, that of the layer and its output
        1 + 2 + 9 + 2,  # within the residual, its input is kept
        1 + 5 + 5,
        1 + 5 + 9 + 5,
    ]
    found = cost(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]))
    assert found == pytest.approx([maps * PIXELS for maps in expected])
    assert (cost.name, cost.unit, cost.minimum, cost.maximum) == ("peak_memory", "bytes", 5 * PIXELS, 20 * PIXELS)
    assert cost_from_dict(cost.to_dict()) == cost


def test_views_and_weights_take_no_memory() -> None:
    weight, images = torch.zeros(100), torch.zeros(10)
    with PeakMemory([weight], [images]) as memory:
        weight[:50].view(5, 10)
        images.view(2, 5)[0].add_(1)
        images + 1
        images + 2
    assert memory.bytes == 80
