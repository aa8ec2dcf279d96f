"""Which supernet and which networks a kind of space has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from multinas_ray.choices import build_network
from multinas_ray.errors import ConfigError
from multinas_ray.settings import checked_arguments
from multinas_ray.spaces import IntArray, ModelSpace, NetworkSpace, Space
from multinas_ray.supernets.block_subnets import build_path
from multinas_ray.supernets.block_supernet import BlockSupernet
from multinas_ray.supernets.model_supernet import ModelSupernet
from multinas_ray.supernets.supernet import Seed, Supernet


@checked_arguments
def make_supernet(space: Space, norm_batch_size: int, seed: Seed) -> Supernet:
    """Make the supernet of a space.

    Args:
        space: the networks.
        norm_batch_size: images that are normalised together; every batch is a multiple of it.
        seed: seed of the initial weights; the global random generator is unchanged.

    Raises:
        ConfigError: The kind of space is not known.
    """
    if isinstance(space, NetworkSpace):
        return BlockSupernet(space, norm_batch_size, seed)
    if isinstance(space, ModelSpace):
        return ModelSupernet(space, norm_batch_size, seed)
    raise ConfigError(f"a space must be a NetworkSpace or a ModelSpace, got {type(space).__name__}")


@checked_arguments
def build_subnet(space: Space, architecture: Sequence[int] | IntArray, *, seed: Seed = 0) -> nn.Module:
    """Build a separate network, freshly initialised, with ordinary batch normalisation.

    Args:
        space: the space.
        architecture: (D,) indices.
        seed: seed of the initial weights; the global random generator is unchanged.

    Returns:
        A network in training mode, from images to logits. That of a NetworkSpace is ``Sequential(stem, blocks, head)``,
        where `blocks` is a Sequential of D blocks; that of a ModelSpace is the model without its choices.

    Raises:
        ConfigError: The architecture is not of the space, or the kind of space is not known.
    """
    row = tuple(space.search_space.check(np.asarray(architecture)[None])[0].tolist())
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if isinstance(space, NetworkSpace):
            return build_path(space, row)
        if isinstance(space, ModelSpace):
            return build_network(space.make, space.search_space, row)
    raise ConfigError(f"a space must be a NetworkSpace or a ModelSpace, got {type(space).__name__}")
