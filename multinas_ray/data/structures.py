"""Samples of any structure: a tensor, or tensors in dictionaries, tuples and lists, and how a model takes them.

A structure is plain data. A tensor is a text such as "float32[1, 8, 8]", its type and its shape without the samples;
dictionaries and lists hold structures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import Structure

Make = Callable[[tuple[int, ...], torch.dtype], Tensor]
"""From the shape and the type of a tensor to the tensor."""

_TENSOR = re.compile(r"(\w+)\[([\d, ]*)\]")


def tensors_of(values: Any) -> list[Tensor]:
    """The tensors of inputs, outputs or targets, in their order.

    Raises:
        ConfigError: something else is among them, or there is none.
    """
    leaves = tree_leaves(values)
    if faulty := [type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Tensor)]:
        raise ConfigError(f"a batch must consist of tensors, in dictionaries or tuples, got {', '.join(faulty)}")
    if not leaves:
        raise ConfigError("a batch must have at least one tensor, got none")
    return leaves


def map_tensors(function: Callable[[Tensor], Any], values: Any) -> Any:
    """The same structure with what a function makes of each tensor."""
    return tree_map(function, values)


def num_samples(batch: Any) -> int:
    """Number of samples of inputs, outputs or targets: the first size of the first tensor."""
    return len(tensors_of(batch)[0])


def structure_of(batch: Any) -> Structure:
    """The structure of the samples of a batch, whose tensors have the samples as their first axis.

    Raises:
        ConfigError: a tensor has no axis, or tensors have different numbers of samples.
    """
    sizes = {tuple(each.shape[:1]) for each in tensors_of(batch)}
    if len(sizes) > 1 or () in sizes:
        shapes = [tuple(each.shape) for each in tensors_of(batch)]
        raise ConfigError(f"all tensors of a batch must have the samples as their first axis, got the shapes {shapes}")

    def described(value: Any) -> Structure:
        if isinstance(value, Tensor):
            return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape[1:])}"
        if isinstance(value, Mapping):
            return {str(name): described(each) for name, each in value.items()}
        return [described(each) for each in value]

    return described(batch)


def batch_of(structure: Structure, num: int, make: Make = lambda shape, dtype: torch.zeros(shape, dtype=dtype)) -> Any:
    """A made-up batch of a structure.

    Args:
        structure: of a sample.
        num: number of samples.
        make: makes a tensor; by default one of zeros.

    Raises:
        ConfigError: the structure is none.
    """
    if isinstance(structure, Mapping):
        return {name: batch_of(each, num, make) for name, each in structure.items()}
    if isinstance(structure, (list, tuple)):
        return tuple(batch_of(each, num, make) for each in structure)
    found = _TENSOR.fullmatch(structure) if isinstance(structure, str) else None
    dtype = getattr(torch, found[1], None) if found else None
    if found is None or not isinstance(dtype, torch.dtype):
        raise ConfigError(f'the structure of a tensor must be a text such as "float32[1, 8, 8]", got {structure!r}')
    return make((num, *(int(size) for size in found[2].split(",") if size.strip())), dtype)


def noise(generator: torch.Generator) -> Make:
    """Makes tensors of noise: standard normal numbers, and whole numbers 0 and 1, which are in every vocabulary."""

    def make(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        if dtype.is_floating_point:
            return torch.randn(shape, generator=generator, dtype=dtype)
        return torch.randint(0, 2, shape, generator=generator).to(dtype)

    return make


def call(network: nn.Module | Callable[..., Any], inputs: Any) -> Any:
    """What a network gives for inputs: a dictionary is given by name, a tuple or list in its order."""
    if isinstance(inputs, Mapping):
        return network(**inputs)
    return network(*inputs) if isinstance(inputs, (tuple, list)) else network(inputs)
