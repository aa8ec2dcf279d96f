"""The supernet of a PyTorch model with choices: the model itself, with one network active at a time.

Notation: N architectures, D variables, B samples.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from multinas_ray.choices import Places, extract_network, parts_used
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import IntArray, ModelSpace
from multinas_ray.supernets.chain import Apply, Chain, call_plainly
from multinas_ray.supernets.norm import use_ghost_statistics
from multinas_ray.supernets.separate import Separate, stacked
from multinas_ray.supernets.supernet import Seed, Supernet

REMEMBERED = 64
"""Architectures whose parameters are not looked up again: those of a round are asked for twice. [ours]"""


class ModelSupernet(Supernet):
    """The model of a space; each architecture is a pass of its own through it, see `Chain` for what passes share.

    Batch normalisation, wherever it is in the model, uses the statistics of groups of the batch. Dropout and what else
    depends on the mode of a module is active where gradients are computed, and nowhere else.

    Args:
        space: the space of the model.
        norm_batch_size: images that are normalised together; every batch is a multiple of it.
        seed: seed of the initial weights.

    Raises:
        ConfigError: the function that makes the model is not registered, or makes other places than the space has.
    """

    space: ModelSpace

    @checked_arguments
    def __init__(self, space: ModelSpace, norm_batch_size: int, seed: Seed) -> None:
        super().__init__(space, norm_batch_size)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.model: nn.Module = space.make()
        self._places = Places.of(self.model)
        if self._places.search_space != space.search_space:
            raise ConfigError(
                f"the model {space.model} must have the choices of its space, "
                f"{', '.join(each.name for each in space.variables)}, it has {', '.join(self._places.by_name)}: use "
                "the function with which the space was made"
            )
        use_ghost_statistics(self.model, norm_batch_size)
        self._chain = Chain(self.model, self._places)
        self._parts = lru_cache(REMEMBERED)(self._find_parts)

    def forward(self, inputs: Any, architectures: npt.ArrayLike) -> Any:
        """Outputs of all architectures for the same samples, (N, B, ...); equal beginnings are computed once."""
        return stacked(self.walk(inputs, architectures))

    def walk(self, inputs: Any, architectures: npt.ArrayLike, apply: Apply = call_plainly) -> list[Any]:
        """The same one by one, through links that are called by `apply`, see `Chain.outputs`."""
        if self.model.training != torch.is_grad_enabled():
            self.model.train(torch.is_grad_enabled())
        return self._chain.outputs(inputs, self.rows(architectures), apply)

    def groups(
        self,
        architectures: npt.ArrayLike,
        batch_size: int,  # one at a time needs least
        limit_bytes: int | None,
        bytes_per_element: int,
    ) -> list[IntArray]:
        """One group for each different architecture, since most models are no chains and share nothing."""
        rows = self.rows(architectures)
        return [np.flatnonzero([each == row for each in rows]) for row in dict.fromkeys(rows)]

    def touched_parameters(self, architectures: npt.ArrayLike) -> list[nn.Parameter]:
        """Those of the modules that the architectures use, in the order of the model."""
        used = {each for row in self.rows(architectures) for each in self._parts(row)}
        return [each for each in self.model.parameters() if each in used and each.requires_grad]

    def masks_of_used(self, architectures: npt.ArrayLike) -> dict[nn.Parameter, Tensor]:
        """Which entries are used of the weights of layers whose width is chosen."""
        masks: dict[nn.Parameter, Tensor] = {}
        for row in self.rows(architectures):
            for parameter, part in self._parts(row).items():
                if parameter in masks or parameter[part].shape != parameter.shape:
                    mask = masks.setdefault(parameter, torch.zeros_like(parameter, dtype=torch.bool))
                    mask[part] = True
        return masks

    def extract(self, architecture: Sequence[int] | IntArray) -> nn.Module:
        """Build an ordinary module without choices, with copies of the weights."""
        (row,) = self.rows(np.asarray(architecture)[None])
        with torch.random.fork_rng(devices=[]):
            return extract_network(self.model, self.space.make, self.space.search_space, row)

    def together(self, architectures: npt.ArrayLike) -> nn.Module:
        """Several subnets, one after the other."""
        return Separate([self.extract(row) for row in self.rows(architectures)])

    def _find_parts(self, row: tuple[int, ...]) -> dict[nn.Parameter, tuple[slice, ...]]:
        self._places.activate(row)
        return parts_used(self.model)
