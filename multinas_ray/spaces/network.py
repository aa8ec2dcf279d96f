"""A network space as data: a stem, positions with candidate blocks, and a head.

Notation: D positions (the variables), C_d candidate blocks of position d.
"""

import itertools
import math
import numbers
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from multinas_ray.errors import ConfigError, raised_by
from multinas_ray.settings import PositiveInt, checked
from multinas_ray.spaces.blocks import Block, BlockDescription, ConvLayer, PartialBlock, Shape
from multinas_ray.spaces.costs import AdditiveCost, MaximumCost
from multinas_ray.spaces.equivalence import Equivalence, IdentityRun
from multinas_ray.spaces.search_space import SearchSpace, Variable
from multinas_ray.spaces.space import BoolArray, Space, Structure


@checked
@dataclass(frozen=True)
class Position:
    """One place of the network and the candidate blocks for it."""

    name: str
    """Name of the variable; unique in the space."""
    blocks: tuple[BlockDescription, ...]
    """Candidate blocks with the same output shape, in the order of the indices."""


@checked
@dataclass(frozen=True)
class NetworkSpace(Space):
    """All networks ``stem -> one block of each position -> head``.

    A space of your own:

    >>> from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, mbconv, skip
    >>> space = NetworkSpace(
    ...     name="mine",
    ...     input_shape=(3, 32, 32),
    ...     stem=Block("stem", (ConvLayer(3, 16, kernel_size=3),)),
    ...     positions=(
    ...         Position("first", (mbconv(16, 32, kernel_size=3, expansion=3, stride=2),)),
    ...         Position("second", (mbconv(32, 32, 3, 3), mbconv(32, 32, 5, 6), skip())),
    ...     ),
    ...     head=Head(in_channels=32, num_classes=10),
    ... )
    >>> space.search_space.num_architectures
    3

    Raises:
        ConfigError: A position breaks a rule of `Variable`, a block cannot take its input, or the blocks of a
            position have different output shapes.
    """

    name: str
    """Name in reports and records."""
    input_shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    """(channels, height, width) of an image."""
    stem: BlockDescription
    """The block before the first position."""
    positions: tuple[Position, ...]
    """The D positions that are searched, from first to last."""
    head: BlockDescription
    """The block after the last position; its output is (num_classes, 1, 1)."""

    def __post_init__(self) -> None:
        _ = self.search_space, self.num_classes  # they check names and shapes

    @cached_property
    def search_space(self) -> SearchSpace:
        """The positions as variables, with the blocks' names as labels."""
        return SearchSpace(
            tuple(
                Variable(position.name, tuple(block.name for block in position.blocks)) for position in self.positions
            )
        )

    @cached_property
    def input_shapes(self) -> tuple[Shape, ...]:
        """Input shapes of all positions, then of the head, (D + 1,)."""
        shapes = [_output_shape("the stem", self.stem, self.input_shape)]
        for position in self.positions:
            shapes.append(_common_output_shape(position, shapes[-1]))
        return tuple(shapes)

    @cached_property
    def inputs(self) -> Structure:  # type: ignore[override]  # nobody sets it
        """An image."""
        return f"float32{list(self.input_shape)}"

    @cached_property
    def outputs(self) -> Structure:  # type: ignore[override]  # so too
        """Logits."""
        return f"float32[{self.num_classes}]"

    @cached_property
    def num_classes(self) -> int:
        """Number of logits."""
        shape = _output_shape("the head", self.head, self.input_shapes[-1])
        if shape[0] < 2 or shape[1:] != (1, 1):
            raise ConfigError(
                f"the head must give a vector of at least 2 classes, of shape (classes, 1, 1), got {shape}: end it "
                "with a pool and a linear layer, as Head does"
            )
        return shape[0]

    @cached_property
    def costs(self) -> dict[str, AdditiveCost]:
        """``params`` (trainable parameters) and ``flops`` (multiply-adds of one image)."""
        return {
            "params": self.additive_cost("params", lambda block, _: block.params),
            "flops": self.additive_cost("flops", lambda block, shape: block.flops(shape)),
        }

    @cached_property
    def supernet_params(self) -> int:
        """Trainable parameters of a supernet of the space, with those that blocks share counted once."""
        params = self.stem.params + self.head.params
        for position in self.positions:
            params += sum(block.params for block in position.blocks if not isinstance(block, PartialBlock))
            params += sum(
                whole.params for whole in {block.within for block in position.blocks if isinstance(block, PartialBlock)}
            )
        return params

    @cached_property
    def equivalence(self) -> Equivalence:
        """Which architectures build the same network: those that differ in the places of identities within runs."""
        return Equivalence(self.search_space.num_categories, _identity_runs(self.positions))

    @cached_property
    def skips_DC(self) -> BoolArray:
        """Which blocks leave their position out: the identity, or a 1x1 convolution alone in its place.

        Where the shape changes there can be no identity; a linear 1x1 convolution stands for it there.
        """
        counts = self.search_space.num_categories
        skips_DC: BoolArray = np.zeros((len(counts), max(counts)), dtype=bool)
        for d, position in enumerate(self.positions):
            skips_DC[d, : counts[d]] = [_is_identity(block) or _is_linear_1x1(block) for block in position.blocks]
        return skips_DC

    @property
    def most_activations(self) -> int:
        """Elements that autograd keeps for one image of the largest network, estimated."""
        return int(self.activations.maximum)

    @cached_property
    def activations(self) -> AdditiveCost:
        """Elements that autograd keeps for one image and one architecture: an estimate, to bound memory."""
        return self.additive_cost("activations", lambda block, shape: block.activations(shape))

    def additive_cost(
        self, name: str, measure: Callable[[BlockDescription, Shape], float], unit: str = ""
    ) -> AdditiveCost:
        """Cost of a network as the sum of a measure of its blocks, e.g. latency from a look-up table.

        Args:
            name: name of the cost.
            measure: returns the cost of a block for the shape of its input; called for stem and head too.
            unit: unit for reports.
        """
        measure = _told_measure(name, measure)
        base = measure(self.stem, self.input_shape) + measure(self.head, self.input_shapes[-1])
        return AdditiveCost.from_rows(name, self._rows(measure), base, unit)

    def maximum_cost(
        self, name: str, measure: Callable[[BlockDescription, Shape], float], unit: str = ""
    ) -> MaximumCost:
        """Cost of a network as the largest measure of its blocks, e.g. the memory that they need one by one.

        Args:
            name: name of the cost.
            measure: returns the cost of a block for the shape of its input; called for stem and head too.
            unit: unit for reports.
        """
        measure = _told_measure(name, measure)
        base = max(measure(self.stem, self.input_shape), measure(self.head, self.input_shapes[-1]))
        return MaximumCost.from_rows(name, self._rows(measure), base, unit)

    def _rows(self, measure: Callable[[BlockDescription, Shape], float]) -> list[list[float]]:
        """The measure of each position's blocks."""
        return [
            [measure(block, shape) for block in position.blocks]
            for position, shape in zip(self.positions, self.input_shapes[:-1], strict=True)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description of everything that defines the networks."""
        return {
            "name": self.name,
            "input_shape": list(self.input_shape),
            "stem": self.stem.to_dict(),
            "positions": [
                {"name": position.name, "blocks": [block.to_dict() for block in position.blocks]}
                for position in self.positions
            ],
            "head": self.head.to_dict(),
        }


def _told_measure(
    name: str, measure: Callable[[BlockDescription, Shape], float]
) -> Callable[[BlockDescription, Shape], float]:
    """A measure of blocks whose errors, and values that are no numbers, name the cost and the block."""

    def told(block: BlockDescription, shape: Shape) -> float:
        with raised_by(f"the measure of the cost {name!r} for the block {block.name!r} on {shape}"):
            value = measure(block, shape)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ConfigError(
                f"the cost {name!r} must be a number for each block, the block {block.name!r} on {shape} has "
                f"{value!r}: correct the measure"
            )
        try:
            number = float(value)
            if math.isfinite(number):
                return number
            raise ConfigError(
                f"the cost {name!r} must be finite for each block, the block {block.name!r} on {shape} has {number}: "
                "correct the measure"
            )
        except OverflowError as error:
            raise ConfigError(
                f"the cost {name!r} must be at most {sys.float_info.max:.1e} for each block, the block {block.name!r} "
                f"on {shape} costs more: use fewer channels or smaller images"
            ) from error

    return told


def _output_shape(where: str, block: BlockDescription, input_shape: Shape) -> Shape:
    try:
        with raised_by("its output_shape"):
            shape = block.output_shape(input_shape)
    except ConfigError as error:
        raise ConfigError(f"{where} cannot take its input of shape {input_shape}: {error}") from error
    is_shape = isinstance(shape, (tuple, list)) and len(shape) == 3
    if not is_shape or not all(_is_whole(size) and size > 0 for size in shape):
        raise ConfigError(
            f"{where} must give an output shape of three whole numbers from 1, (channels, height, width), got "
            f"{shape!r}: correct its output_shape"
        )
    return (int(shape[0]), int(shape[1]), int(shape[2]))


def _is_whole(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _common_output_shape(position: Position, input_shape: Shape) -> Shape:
    first, *others = position.blocks
    shape = _output_shape(f"block {first.name!r} of position {position.name!r}", first, input_shape)
    for other in others:
        other_shape = _output_shape(f"block {other.name!r} of position {position.name!r}", other, input_shape)
        if other_shape != shape:
            raise ConfigError(
                f"all blocks of a position must have the same output shape, but at position {position.name!r} block "
                f"{first.name!r} gives {shape} and block {other.name!r} gives {other_shape}: "
                "give them the same channels and stride, or leave one out"
            )
    return shape


def _identity_runs(positions: Sequence[Position]) -> tuple[IdentityRun, ...]:
    """The longest runs of at least two positions."""
    runs, start = [], 0
    for _, group in itertools.groupby(positions, key=lambda position: position.blocks):
        run = list(group)
        stop, blocks = start + len(run), run[0].blocks
        identities = [index for index, block in enumerate(blocks) if _is_identity(block)]
        if len(run) > 1 and identities:
            runs.append(IdentityRun(start, stop, identities[0]))
        start = stop
    return tuple(runs)


def _is_linear_1x1(block: BlockDescription) -> bool:
    if not isinstance(block, Block) or len(block.layers) != 1:
        return False
    (layer,) = block.layers
    return isinstance(layer, ConvLayer) and layer.kernel_size == 1 and layer.activation is None


def _is_identity(block: BlockDescription) -> bool:
    return isinstance(block, Block) and not block.layers
