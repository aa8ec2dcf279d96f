"""A space as plain data whose networks come out of a PyTorch model with choices. torch is not needed to read it.

Notation: D variables, C choices (padded).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, TypeVar

import numpy as np

from multinas_ray.errors import StateError
from multinas_ray.registry import Registry
from multinas_ray.settings import PositiveInt, Unchecked, checked
from multinas_ray.spaces.costs import Cost, cost_from_dict
from multinas_ray.spaces.equivalence import Equivalence, Way
from multinas_ray.spaces.search_space import SearchSpace, Variable
from multinas_ray.spaces.space import BoolArray, Space, Structure

MakeModel = TypeVar("MakeModel", bound=Callable[..., Any])

KIND = "model"
"""Kind of the space in records."""

_models: Registry[Callable[..., Any]] = Registry("model")


def register_model(make: MakeModel) -> MakeModel:
    """Make a function that builds a model known by its name, so that a recorded search can be opened again.

    Use it as a decorator. The function takes plain arguments and returns an `nn.Module` with choices, see
    `multinas_ray.choices`, freshly initialised from torch's global generator.

    Returns:
        The function, unchanged.

    Raises:
        ConfigError: another function has the name already.
    """
    _models.add(make.__name__, make)
    return make


def find_model(name: str) -> Callable[..., Any]:
    """The function that makes a model, by its name.

    Raises:
        ConfigError: none is registered by the name.
    """
    return _models.find(name)


def model_name(make: Callable[..., Any]) -> str | None:
    """The name by which a function is registered; None if it is not."""
    name = make.__name__
    return name if name in _models.names and _models.find(name) is make else None


@checked
@dataclass(frozen=True)
class ModelSpace(Space):
    """All networks of a model with choices. Make it by `choices.model_space`, which measures the model."""

    name: str
    """Name in reports and records."""
    model: str
    """Name of the function that makes the model, see `register_model`."""
    arguments: Annotated[Mapping[str, Any], Unchecked()]
    """Arguments of the function, plain data."""
    inputs: Annotated[Structure, Unchecked()]
    """What the model takes for one sample."""
    outputs: Annotated[Structure, Unchecked()]
    """What it gives for one sample."""
    variables: tuple[Variable, ...]
    """The D places of the model at which networks differ."""
    ways: Annotated[tuple[tuple[Way, ...], ...], Unchecked()]
    """For each variable the ways in which a network uses it, see `Equivalence`."""
    skips: tuple[tuple[int, ...], ...]
    """For each variable the choices that leave their place out."""
    measured: Annotated[tuple[Cost, ...], Unchecked()]
    """Its costs."""
    model_params: PositiveInt
    """Trainable parameters of the model with all its choices."""

    def make(self) -> Any:
        """Make the model, freshly initialised.

        Raises:
            ConfigError: its function is not registered.
        """
        return find_model(self.model)(**self.arguments)

    def __reduce__(self) -> Any:
        """Take the function along to other processes, which may not have imported its module."""
        make = _models.find(self.model) if self.model in _models.names else None
        return _received, (make, {field.name: getattr(self, field.name) for field in dataclasses.fields(self)})

    @cached_property
    def search_space(self) -> SearchSpace:
        """The variables."""
        return SearchSpace(self.variables)

    @cached_property
    def costs(self) -> dict[str, Cost]:
        """``params`` (trainable parameters) and ``flops`` (multiply-adds of one sample)."""
        return {cost.name: cost for cost in self.measured}

    @property
    def supernet_params(self) -> int:
        """Trainable parameters of the model with all its choices."""
        return self.model_params

    @property
    def most_activations(self) -> None:
        """Not known: a model is not taken apart."""
        return None

    @cached_property
    def equivalence(self) -> Equivalence:
        """Architectures that differ in unused variables alone are one network."""
        return Equivalence(self.search_space.num_categories, ways=self.ways)

    @cached_property
    def skips_DC(self) -> BoolArray:
        """Which choices leave their place out."""
        counts = self.search_space.num_categories
        skips_DC: BoolArray = np.zeros((len(counts), max(counts)), dtype=bool)
        for d, skipping in enumerate(self.skips):
            skips_DC[d, list(skipping)] = True
        return skips_DC

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description of everything that defines the networks."""
        return {
            "kind": KIND,
            "name": self.name,
            "model": self.model,
            "arguments": dict(self.arguments),
            "inputs": self.inputs,
            "outputs": self.outputs,
            "variables": [{"name": each.name, "choices": list(each.choices)} for each in self.variables],
            "ways": [[[[d, list(choices)] for d, choices in way] for way in ways] for ways in self.ways],
            "skips": [list(each) for each in self.skips],
            "costs": [cost.to_dict() for cost in self.measured],
            "model_params": self.model_params,
        }

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> ModelSpace:
        """The space that `to_dict` described.

        Raises:
            StateError: the description does not have this form.
        """
        try:
            return cls(
                name=description["name"],
                model=description["model"],
                arguments=dict(description["arguments"]),
                inputs=description["inputs"],
                outputs=description["outputs"],
                variables=tuple(Variable(each["name"], tuple(each["choices"])) for each in description["variables"]),
                ways=tuple(
                    tuple(tuple((int(d), tuple(map(int, choices))) for d, choices in way) for way in ways)
                    for ways in description["ways"]
                ),
                skips=tuple(tuple(each) for each in description["skips"]),
                measured=tuple(cost_from_dict(each) for each in description["costs"]),
                model_params=description["model_params"],
            )
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise StateError(f"this does not describe the space of a model ({error!r}): restore a copy") from error


def _received(make: Callable[..., Any] | None, fields: Mapping[str, Any]) -> ModelSpace:
    """A space that was sent from another process, with the function that makes its model."""
    if make is not None:
        register_model(make)
    return ModelSpace(**fields)
