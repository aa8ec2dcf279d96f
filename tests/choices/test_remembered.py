"""The memory of networks by remembered calls is that of running them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from multinas_ray.choices import Choice, DepthChoice, ElasticBatchNorm2d, ElasticConv2d, WidthChoice
from multinas_ray.choices.measuring import ModelMeter


class Residual(nn.Module):
    """Adds what a layer gives, by a forward of its own."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = images + self.layer(images)
        return features


class Keeping(nn.Module):
    """Keeps what it makes."""

    def forward(self, images: Tensor) -> Tensor:
        self.kept = images * 2
        return self.kept + 1


class Twice(nn.Module):
    """Gives a tensor and a view of it, in a dictionary."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = images + 1
        return {"features": features, "flat": features.flatten(1)}


class Joined(nn.Module):
    """Takes both."""

    def forward(self, both: dict[str, Tensor]) -> Tensor:
        return both["features"] + both["flat"].view_as(both["features"]).relu()


def block(width: WidthChoice, name: str) -> nn.Module:
    hidden = WidthChoice(name, [2, 7])
    layer = nn.Sequential(
        ElasticConv2d(width, hidden, 3, padding=1), ElasticBatchNorm2d(hidden), nn.ReLU(inplace=True), nn.Dropout()
    )
    return Residual(nn.Sequential(layer, ElasticConv2d(hidden, width, 1)))


def of_all_kinds() -> nn.Module:
    width = WidthChoice("width", [3, 6])
    shared = block(width, "shared")
    return nn.Sequential(
        ElasticConv2d(1, width, 3, padding=1),
        Choice("first", {"skip": nn.Identity(), "block": block(width, "first_hidden"), "shared": shared}),
        DepthChoice("depth", [shared, block(width, "second_hidden"), shared], [0, 1, 3]),
        Choice("odd", {"skip": nn.Identity(), "keeping": Keeping(), "both": nn.Sequential(Twice(), Joined())}),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
    )


class Outside(nn.Module):
    """Needs memory by a choice that is not within it."""

    def __init__(self, others: list[WidthChoice]) -> None:
        super().__init__()
        self.others = others

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images] * self.others[0].width, 1).mean(1, keepdim=True)


def with_hidden_dependence() -> nn.Module:
    width = WidthChoice("width", [3, 6, 9, 12])
    return nn.Sequential(Outside([width]), ElasticConv2d(1, width, 1), ElasticConv2d(width, 1, 1))


def memories(make: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], int]:
    """The memory of 100 random networks, and how many of them were run, as a whole or in part."""
    meter, runs = ModelMeter(make, "float32[1, 8, 8]"), 0
    whole = meter._run

    def counted(*args: Any) -> None:
        nonlocal runs
        runs += 1
        whole(*args)

    monkeypatch.setattr(meter, "_run", counted)
    rows = meter.places.search_space.random(100, np.random.default_rng(0)).tolist()
    return [meter.peak_memory(row) for row in rows], runs


@pytest.mark.parametrize(("make", "most_runs"), [(of_all_kinds, 95), (with_hidden_dependence, 120)])
def test_memory_by_remembered_calls_is_that_of_running_each_network(make, most_runs, monkeypatch) -> None:
    found, runs = memories(make, monkeypatch)
    monkeypatch.setattr(ModelMeter, "_remembered_memory", lambda *_: (-1, False))
    plainly, all_runs = memories(make, monkeypatch)
    assert (found, all_runs) == (plainly, 100)
    assert len(set(found)) > 3
    assert runs <= most_runs
