"""Costs of a model's networks: sums over the choices where they are that exactly, else measured network by network.

Notation: D variables, N architectures.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from multinas_ray.choices.measuring import Measured, ModelMeter
from multinas_ray.choices.models import Places
from multinas_ray.choices.terms import Part, parts_of_modules, parts_of_weights
from multinas_ray.settings import checked, checked_arguments
from multinas_ray.spaces import (
    Cost,
    FloatArray,
    IntArray,
    ModelSpace,
    Structure,
    descend,
    find_model,
    register_cost,
    sum_of_terms,
)

PEAK_MEMORY = "peak_memory"
CHECKED_NETWORKS = 30
"""Random networks on which a sum over the choices is compared with what the networks cost themselves. [ours]"""


@functools.lru_cache(maxsize=4)
def _meter(model: str, arguments: str, inputs: str) -> ModelMeter:
    return ModelMeter(lambda: find_model(model)(**json.loads(arguments)), json.loads(inputs))


@functools.lru_cache(maxsize=100_000)
def _measure(model: str, arguments: str, inputs: str, architecture: tuple[int, ...]) -> Measured:
    return _meter(model, arguments, inputs).measure(architecture)


@functools.lru_cache(maxsize=100_000)
def _measure_memory(model: str, arguments: str, inputs: str, architecture: tuple[int, ...]) -> int:
    return _meter(model, arguments, inputs).peak_memory(architecture)


@register_cost
@checked
@dataclass(frozen=True)
class MeasuredCost(Cost):
    """A cost that is no sum over the choices: each network is run without computing anything, and remembered."""

    kind: ClassVar[str] = "measured"
    num_draws: ClassVar[int] = 100
    """Fewer than of costs that are computed, since each takes some hundredths of a second. [ours]"""

    name: str
    """"params", "flops" or "peak_memory"."""
    model: str
    """Name of the function that makes the model."""
    arguments: str
    """Its arguments as JSON."""
    inputs: str
    """What it takes for one sample, as JSON, see `spaces.Structure`."""
    num_categories: tuple[int, ...]
    """Number of choices of each variable, (D,)."""
    least: float
    """The cheapest of some networks."""
    most: float
    """The most expensive of some networks."""
    unit: str = ""

    def __call__(self, architectures: npt.ArrayLike) -> FloatArray:
        """Costs of (N, D) architectures, (N,) float64."""
        rows = [tuple(row) for row in self.checked(architectures).tolist()]
        if self.name == PEAK_MEMORY:
            found = [_measure_memory(self.model, self.arguments, self.inputs, row) for row in rows]
            return np.array(found, dtype=np.float64)
        measured = [_measure(self.model, self.arguments, self.inputs, row) for row in rows]
        return np.array([getattr(each, self.name) for each in measured], dtype=np.float64)

    @property
    def minimum(self) -> float:
        """Cost of the cheapest of some networks."""
        return self.least

    @property
    def maximum(self) -> float:
        """Cost of the most expensive of some networks."""
        return self.most

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description."""
        return {
            "kind": self.kind,
            "name": self.name,
            "model": self.model,
            "arguments": self.arguments,
            "inputs": self.inputs,
            "num_categories": list(self.num_categories),
            "least": self.least,
            "most": self.most,
            **({"unit": self.unit} if self.unit else {}),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> MeasuredCost:
        """The cost with the fields of `to_dict`."""
        return cls(**{**fields, "num_categories": tuple(fields["num_categories"])})


@checked_arguments
def peak_memory(space: ModelSpace) -> MeasuredCost:
    """Bytes of activations that are alive at once while a network of a model computes one sample, without the weights.

    PyTorch runs the network without a gradient, on tensors without memory; the inputs stay alive, and what an operation
    needs within itself does not count. It is a cost for `OneShotSearchConfig.extra_costs`. Spaces of blocks have
    `spaces.peak_memory`.

    Returns:
        The cost ``peak_memory``, in bytes, measured network by network.

    Raises:
        ConfigError: the function that makes the model is not registered.
    """
    counts = space.search_space.num_categories
    random_ND = space.search_space.random(CHECKED_NETWORKS, np.random.default_rng(0))
    ends = [row for cost in space.measured for row in _ends(cost)]
    cost = MeasuredCost(
        name=PEAK_MEMORY,
        model=space.model,
        arguments=json.dumps(dict(space.arguments), sort_keys=True),
        inputs=json.dumps(space.inputs),
        num_categories=counts,
        least=0.0,
        most=0.0,
        unit="bytes",
    )
    found = cost(np.array([[0] * len(counts), [count - 1 for count in counts], *ends, *random_ND]))
    return replace(cost, least=float(found.min()), most=float(found.max()))


def costs_of(model: str, arguments: Mapping[str, Any], inputs: Structure, meter: ModelMeter) -> tuple[Cost, ...]:
    """The costs "params" and "flops" of a model's networks.

    They are sums over the modules, each by the widths that it has and where it is used. That is exact for most models,
    and compared with some networks. Where it is not, for instance if an option changes the size of feature maps, the
    networks are measured one by one.

    Args:
        model: name of the function that makes the model.
        arguments: its arguments.
        inputs: what it takes for one sample.
        meter: measures the model.

    Raises:
        ConfigError: a network cannot be run.
    """
    places, rng = meter.places, np.random.default_rng(0)
    counts = places.search_space.num_categories
    parts = {"params": parts_of_weights(meter.model), "flops": parts_of_modules(meter, rng)}
    sums = {name: _sum_of_parts(name, parts[name], places) for name in Measured._fields}
    ends = [row for cost in sums.values() if cost is not None for row in _ends(cost)]
    random_ND = rng.integers(0, counts, size=(CHECKED_NETWORKS, len(counts)))
    checked_ND = np.array([[0] * len(counts), [count - 1 for count in counts], *ends, *random_ND])
    measured = [meter.measure(row) for row in checked_ND.tolist()]
    costs: list[Cost] = []
    for name, cost in sums.items():
        found = np.array([getattr(each, name) for each in measured], dtype=np.float64)
        if cost is None or (cost(checked_ND) != found).any():
            cost = MeasuredCost(
                name=name,
                model=model,
                arguments=json.dumps(dict(arguments), sort_keys=True),
                inputs=json.dumps(inputs),
                num_categories=counts,
                least=float(found.min()),
                most=float(found.max()),
            )
        costs.append(cost)
    return tuple(costs)


def _ends(cost: Cost) -> list[IntArray]:
    """A cheap architecture and an expensive one, found by local search."""
    counts = cost.num_categories
    first = [0] * len(counts)
    return [descend(first, counts, cost), descend(first, counts, lambda rows_ND: -cost(rows_ND))]


def _sum_of_parts(name: str, parts: Sequence[Part] | None, places: Places) -> Cost | None:
    """The sum; None if there is none, a part was not met in all its combinations, or a term has too many values."""
    if parts is None or any(set(part.combinations) - set(part.costs) for part in parts):
        return None
    terms = [part.term(places) for part in parts]
    known = [term for term in terms if term is not None]
    counts = places.search_space.num_categories
    return sum_of_terms(name, known, counts, 0.0) if len(known) == len(terms) else None
