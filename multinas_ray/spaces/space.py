"""What every space of networks has, whether it is described block by block or by a model with choices."""

import hashlib
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from multinas_ray.settings import checked_arguments
from multinas_ray.spaces.costs import Cost
from multinas_ray.spaces.equivalence import Equivalence
from multinas_ray.spaces.search_space import SearchSpace

BoolArray = npt.NDArray[np.bool_]
Structure: TypeAlias = "str | list[Structure] | dict[str, Structure]"
"""Tensors of a sample as plain data: a text such as "float32[1, 8, 8]" (type and shape), or lists and mappings of
structures."""


class Space(ABC):
    """Networks that a search chooses from: variables, what networks cost, and plain data that describes both.

    `NetworkSpace` and `ModelSpace` are the kinds.
    """

    name: str
    """Name in reports and records."""
    inputs: Structure
    """What a network takes for one sample."""
    outputs: Structure
    """What it gives for one sample."""

    @property
    @abstractmethod
    def search_space(self) -> SearchSpace:
        """The variables, by which an architecture is (D,) indices."""

    @property
    def num_classes(self) -> int | None:
        """Number of logits; None if networks give something else than logits."""
        found = re.fullmatch(r"float\d+\[(\d+)\]", self.outputs) if isinstance(self.outputs, str) else None
        return None if found is None else int(found[1])

    @property
    @abstractmethod
    def costs(self) -> Mapping[str, Cost]:
        """At least ``params`` (trainable parameters) and ``flops`` (multiply-adds of one image)."""

    @property
    @abstractmethod
    def supernet_params(self) -> int:
        """Trainable parameters of a supernet of the space."""

    @property
    @abstractmethod
    def most_activations(self) -> int | None:
        """Elements that autograd keeps for one image of the largest network, estimated; None: not known."""

    @property
    @abstractmethod
    def equivalence(self) -> Equivalence:
        """Which architectures build the same network."""

    @property
    @abstractmethod
    def skips_DC(self) -> BoolArray:
        """Which choices leave their position out, (D, C) bool; False beyond a variable's choices."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description of everything that defines the networks."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of `to_dict` in hexadecimal: equal for equal spaces on every machine."""
        text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@checked_arguments
def all_costs(space: Space, extra_costs: Sequence[Cost]) -> dict[str, Cost]:
    """The costs of a space and the extra ones, by name."""
    return {**space.costs, **{cost.name: cost for cost in extra_costs}}
