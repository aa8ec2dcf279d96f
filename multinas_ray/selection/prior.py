"""What architectures promise before any training: the parts of a prior, each a figure that costs next to nothing.

A supernet that has been trained for little tells the networks of one size hardly apart. Figures of the untrained
networks tell as much, and both together more (docs/METHOD.md).

Notation: P parts, N architectures, D positions, C candidate blocks (padded).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

import numpy as np

from multinas_ray.errors import ConfigError
from multinas_ray.registry import Registry
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import FloatArray, IntArray, Space

PartClass = TypeVar("PartClass", bound="type[PriorPart]")

PRIOR_STEPS = 1000
"""Weight steps up to which the prior has its whole weight. [ours]"""


class PriorPart(ABC):
    """A figure of untrained networks. A part of one's own is a subclass under `register_prior`.

    Args:
        space: the space of the networks.
        device: where torch computes, such as "cpu" or "cuda"; of no effect on a part without torch.
    """

    name: ClassVar[str]
    """Name in settings and tables."""
    is_cheap: ClassVar[bool] = False
    """Whether thousands of networks take no more than a second. Where many are ranked, such parts choose those of which
    the others are asked."""

    def __init__(self, space: Space, device: str = "cpu") -> None:
        self.space, self.device = space, device

    @abstractmethod
    def __call__(self, architectures_ND: IntArray) -> FloatArray:
        """(N,) figures of canonical architectures; the more, the more they promise. Only their order counts."""


_parts: Registry[type[PriorPart]] = Registry("part of a prior", {"naswot": "multinas_ray.selection.naswot"})


def register_prior(part: PartClass) -> PartClass:
    """Make a part of a prior known by its `name`; use it as a decorator.

    Returns:
        The class, unchanged.

    Raises:
        ConfigError: another part has the name already.
    """
    _parts.add(part.name, part)
    return part


@checked_arguments
def check_prior(names: Sequence[str]) -> None:
    """Check that parts are known, without loading torch for them.

    Raises:
        ConfigError: one is not, or comes twice.
    """
    given = [_parts.check(name) for name in names]
    if len(set(given)) < len(given):
        raise ConfigError(f"prior must name each part once, got {', '.join(given)}")


@checked_arguments
def make_parts(names: Sequence[str], space: Space, device: str = "cpu") -> list[PriorPart]:
    """Make the parts of a prior for a space.

    Raises:
        ConfigError: one is not known.
    """
    return [_parts.find(name)(space, device) for name in names]


@checked_arguments
def prior_weight(weight_steps: int) -> float:
    """How much each part of a prior counts, where the loss of the supernet counts 1.

    It is 1 up to PRIOR_STEPS and falls with the root of the steps after them, as the error of a mean does: the longer
    the weights are trained, the better the losses rank by themselves. [ours]

    Args:
        weight_steps: training steps of one subnet on one batch.
    """
    return float((PRIOR_STEPS / max(PRIOR_STEPS, weight_steps)) ** 0.5)


@register_prior
class Depth(PriorPart):
    """The number of blocks that are no skips, see `spaces.skips`."""

    name = "depth"
    is_cheap = True

    def __call__(self, architectures_ND: IntArray) -> FloatArray:
        """(N,) depths."""
        depths_N: FloatArray = _blocks_ND(self.space, architectures_ND).sum(axis=1)
        return depths_N


@register_prior
class EarlyDepth(PriorPart):
    """The sum over the blocks that are no skips of (D - position) / D, with positions from 0.

    An early block works at a higher resolution, and its output passes through more later blocks. On NAS-Bench-Macro it
    ranks the networks of one size better than the depth or NASWOT alone. [ours]
    """

    name = "early_depth"
    is_cheap = True

    def __call__(self, architectures_ND: IntArray) -> FloatArray:
        """(N,) sums."""
        num_positions = architectures_ND.shape[1]
        weights_D = (num_positions - np.arange(num_positions)) / num_positions
        sums_N: FloatArray = _blocks_ND(self.space, architectures_ND) @ weights_D
        return sums_N


def _blocks_ND(space: Space, architectures_ND: IntArray) -> FloatArray:
    """(N, D) 1 where the network has a block, 0 where it has a skip; identities stand last in their run."""
    canonical_ND = space.equivalence.canonical(architectures_ND)
    is_block_DC = ~space.skips_DC
    blocks_ND: FloatArray = is_block_DC[np.arange(canonical_ND.shape[1]), canonical_ND].astype(np.float64)
    return blocks_ND
