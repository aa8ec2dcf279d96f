"""What a run chooses among: its positions or variables, and their options, for a reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from multinas_ray.runs import ConfigSpace, Run


@dataclass(frozen=True)
class Option:
    """One candidate of a position."""

    label: str
    layers: tuple[Mapping[str, Any], ...] | None = None
    """Its convolution layers as recorded; None where it is no plain block of them."""

    @property
    def is_skip(self) -> bool:
        """Whether it leaves its position out of the network."""
        return self.layers == ()

    @cached_property
    def kernel_size(self) -> int | None:
        """Largest kernel of its layers."""
        return max((int(layer["kernel_size"]) for layer in self.layers or ()), default=None)

    @cached_property
    def expansion(self) -> float | None:
        """Most channels inside it, over those of its input."""
        layers = self.layers or ()
        return max((int(layer["out_channels"]) / int(layers[0]["in_channels"]) for layer in layers), default=None)

    @cached_property
    def stride(self) -> int:
        """By what it divides height and width."""
        stride = 1
        for layer in self.layers or ():
            stride *= int(layer["stride"])
        return stride


@dataclass(frozen=True)
class Position:
    """One place of the network, or one variable of a configuration."""

    name: str
    options: tuple[Option, ...]

    @property
    def halves(self) -> bool:
        """Whether every option makes the map smaller."""
        return all(option.stride > 1 for option in self.options)


def positions_of(run: Run) -> list[Position]:
    """(D,) positions of a run; where its configuration does not describe them, numbered."""
    space = run.config.get("space")
    if run.kind == "tune" and space is not None:
        variables = ConfigSpace.from_plain(space).search_space.variables
        return [Position(each.name, tuple(Option(_value(value)) for value in each.choices)) for each in variables]
    if space is not None and "positions" in space:
        return [
            Position(str(each["name"]), tuple(_block(block) for block in each["blocks"])) for each in space["positions"]
        ]
    counts = run.config.get("optimizer", {}).get("num_categories", [])
    return [
        Position(str(number), tuple(Option(str(index)) for index in range(count)))
        for number, count in enumerate(counts, start=1)
    ]


def _value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _block(description: Mapping[str, Any]) -> Option:
    """A block of the shipped kind has `layers` of convolutions; any other is known by its name."""
    layers = description.get("layers")
    needed = {"in_channels", "out_channels", "kernel_size", "stride"}
    is_plain = isinstance(layers, list) and all(isinstance(each, Mapping) and needed <= set(each) for each in layers)
    name = str(description.get("name", description.get("type", "block")))
    return Option(name, tuple(layers) if is_plain and layers is not None else None)
