"""What every supernet does: compute architectures with shared weights, and give one of them away as a network.

Notation: N architectures, D variables, B images.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any

import numpy.typing as npt
import torch
from annotated_types import Ge, Lt
from torch import Tensor, nn
from torch.optim import Optimizer

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import IntArray, Space

Seed = Annotated[int, Ge(0), Lt(2**63)]
"""Seed of torch's generator."""


class Supernet(nn.Module, ABC):
    """Every network of a space, with shared weights.

    Equal arguments give equal weights if it is made on the CPU and then moved. The global random generator is
    unchanged. Eval mode makes no difference, since normalisation uses the batch in both modes.

    Args:
        space: the networks.
        norm_batch_size: images that are normalised together; every batch is a multiple of it.
    """

    def __init__(self, space: Space, norm_batch_size: int) -> None:
        super().__init__()
        self.space = space
        self.norm_batch_size = norm_batch_size

    @abstractmethod
    def forward(self, inputs: Any, architectures: npt.ArrayLike) -> Any:
        """Outputs of all architectures for the same samples.

        Args:
            inputs: of B samples: images (B, channels, height, width), or what the space's model takes.
            architectures: (N, D) indices, N >= 1.

        Returns:
            Logits (N, B, num_classes), in the order of the architectures; of a model with other outputs these, each of
            their tensors (N, B, ...).

        Raises:
            ConfigError: There are no architectures or one is not of this space.
        """

    @abstractmethod
    def groups(
        self, architectures: npt.ArrayLike, batch_size: int, limit_bytes: int | None, bytes_per_element: int
    ) -> list[IntArray]:
        """Cut the architectures of a weight step into groups whose activations are kept at the same time.

        Args:
            architectures: (N, D) indices.
            batch_size: images of the step.
            limit_bytes: bound of a group's activations; None for no bound.
            bytes_per_element: size of an activation, 4 for float32.

        Returns:
            Index arrays that together have each of 0..N-1 once.
        """

    @abstractmethod
    def touched_parameters(self, architectures: npt.ArrayLike) -> list[nn.Parameter]:
        """Parameters that have a gradient after a step on the architectures, each once.

        Their order depends only on the set of architectures. So it is the same in every process, as an all-reduce
        requires.

        Raises:
            ConfigError: An architecture is not of this space.
        """

    @abstractmethod
    def masks_of_used(self, architectures: npt.ArrayLike) -> dict[nn.Parameter, Tensor]:
        """Which entries the architectures use, as bool, of each touched parameter that they use in part only."""

    @abstractmethod
    def extract(self, architecture: Sequence[int] | IntArray) -> nn.Module:
        """Build a separate network with copies of the weights that an architecture uses.

        In training mode it computes the same as the supernet for a batch of one group. Its running statistics are
        still empty, so call `recalibrate_batch_norm` before using it in eval mode.

        Returns:
            A network as that of `build_subnet`, on the supernet's device and with its dtype.

        Raises:
            ConfigError: The architecture is not of this space, or the network's weights are not the supernet's.
        """

    @abstractmethod
    def together(self, architectures: npt.ArrayLike) -> nn.Module:
        """Several subnets as one module, each with normalisation statistics of its own, see `recalibrate_batch_norm`.

        Each computes what it does alone.

        Returns:
            A module from the inputs of B samples to outputs (N, B, ...), as `forward`.
        """

    def rows(self, architectures: npt.ArrayLike) -> list[tuple[int, ...]]:
        """The architectures as tuples.

        Raises:
            ConfigError: There are no architectures or one is not of this space.
        """
        rows: list[list[int]] = self.space.search_space.check(architectures).tolist()
        if not rows:
            raise ConfigError("a supernet must get at least one architecture, got none")
        return [tuple(row) for row in rows]


@torch.no_grad()
def step_touched(optimizer: Optimizer, supernet: Supernet, architectures: npt.ArrayLike) -> None:
    """Step the optimiser on a supernet after the gradients of the architectures, and on nothing that they do not use.

    Parameters without a gradient are not stepped. If blocks share weights, a parameter may be used in part; the rest of
    it has a gradient of 0 and would move by momentum and weight decay. It stays as it is, with the optimiser's state.
    The function does not wait for the device.

    Args:
        optimizer: an optimiser of the supernet's parameters, whose state of a parameter starts at 0.
        supernet: the supernet.
        architectures: (N, D) indices.

    Raises:
        ConfigError: An architecture is not of the supernet's space.
    """
    masks = supernet.masks_of_used(architectures)
    before = {each: each.clone() for each in masks}
    state_before = {each: _state_like(optimizer, each, clone=True) for each in masks}
    optimizer.step()
    for parameter, mask in masks.items():
        parameter.copy_(torch.where(mask, parameter, before[parameter]))
        for name, state in _state_like(optimizer, parameter).items():
            state.copy_(torch.where(mask, state, state_before[parameter].get(name, torch.zeros_like(state))))


def _state_like(optimizer: Optimizer, parameter: nn.Parameter, *, clone: bool = False) -> dict[str, Tensor]:
    """The optimiser's state that has an entry for each entry of the parameter."""
    state = optimizer.state.get(parameter, {})
    tensors = {name: each for name, each in state.items() if torch.is_tensor(each) and each.shape == parameter.shape}
    return {name: each.clone() for name, each in tensors.items()} if clone else tensors
