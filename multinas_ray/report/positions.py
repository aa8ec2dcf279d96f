"""The positions of a network space, or the variables of a Tune search, with the options of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from multinas_ray.runs import Choice, ConfigSpace, ConfigVariable, Run
from multinas_ray.spaces import Way


@dataclass(frozen=True)
class Option:
    """One candidate block of a position, or one value of a variable."""

    label: str
    layers: tuple[Mapping[str, Any], ...] | None = None
    """Its convolution layers as recorded; None if it is not a plain block of them."""

    @property
    def is_skip(self) -> bool:
        """Whether the network has nothing at this position if this option is chosen."""
        return self.layers == ()

    @cached_property
    def kernel_size(self) -> int | None:
        """The largest kernel size of its layers; None if it has none."""
        return max((int(layer["kernel_size"]) for layer in self.layers or ()), default=None)

    @cached_property
    def expansion(self) -> float | None:
        """The largest number of channels inside the block, divided by that of its input."""
        layers = self.layers or ()
        return max((int(layer["out_channels"]) / int(layers[0]["in_channels"]) for layer in layers), default=None)

    @cached_property
    def stride(self) -> int:
        """The factor by which the block divides height and width."""
        stride = 1
        for layer in self.layers or ():
            stride *= int(layer["stride"])
        return stride


@dataclass(frozen=True)
class Position:
    """One place of the network, or one variable of a configuration."""

    name: str
    options: tuple[Option, ...]
    """None where the position is a number."""
    ways: tuple[Way, ...] = ()
    """The ways in which a network uses it, see `spaces.Equivalence`; empty: every network does."""

    def is_used(self, architecture: Sequence[int]) -> bool:
        """Whether a network uses it."""
        open_ways = (all(architecture[d] in choices for d, choices in way) for way in self.ways)
        return not self.ways or any(open_ways)

    @property
    def halves(self) -> bool:
        """Whether every option makes the feature map smaller."""
        return all(option.stride > 1 for option in self.options)


def positions_of(run: Run) -> list[Position]:
    """The (D,) positions of a run; they are numbered if its configuration does not describe them."""
    space = run.config.get("space")
    if run.kind == "tune" and space is not None:
        variables = ConfigSpace.from_plain(space).variables
        return [Position(each.name, tuple(Option(value) for value in _values(each))) for each in variables]
    if space is not None and "positions" in space:
        return [
            Position(str(each["name"]), tuple(_block(block) for block in each["blocks"])) for each in space["positions"]
        ]
    if space is not None and "variables" in space:
        ways = space.get("ways") or [()] * len(space["variables"])
        return [
            Position(str(each["name"]), tuple(Option(str(label)) for label in each["choices"]), _ways(own))
            for each, own in zip(space["variables"], ways, strict=True)
        ]
    counts = run.config.get("optimizer", {}).get("num_categories", [])
    return [
        Position(str(number), tuple(Option(str(index)) for index in range(count)))
        for number, count in enumerate(counts, start=1)
    ]


def _ways(described: Sequence[Any]) -> tuple[Way, ...]:
    return tuple(tuple((int(d), tuple(map(int, choices))) for d, choices in way) for way in described)


def _values(variable: ConfigVariable) -> list[str]:
    """The values of a choice as text; none of a number, whose cells change."""
    values = variable.choices if isinstance(variable, Choice) else ()
    return [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]


def _block(description: Mapping[str, Any]) -> Option:
    """A shipped block has `layers` of convolutions; any other block is known by its name only."""
    layers = description.get("layers")
    needed = {"in_channels", "out_channels", "kernel_size", "stride"}
    is_plain = isinstance(layers, list) and all(isinstance(each, Mapping) and needed <= set(each) for each in layers)
    name = str(description.get("name", description.get("type", "block")))
    return Option(name, tuple(layers) if is_plain and layers is not None else None)
