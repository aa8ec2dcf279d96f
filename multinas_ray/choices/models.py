"""From a model with choices to one of its networks.

Notation: D variables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from multinas_ray.choices.places import Place
from multinas_ray.choices.width import Elastic
from multinas_ray.errors import ConfigError
from multinas_ray.spaces import SearchSpace, Variable

Around = dict[str, frozenset[int]]
"""Options of places, by their names, all of which lead to a module."""


@dataclass(frozen=True)
class Places:
    """The places of a model, in the order in which it has them."""

    by_name: Mapping[str, Place]
    """Each place once."""
    conditions: Mapping[str, tuple[Around, ...]]
    """When a place is used: by one of these, each of which names options of the places around it. ({},): always."""

    @classmethod
    def of(cls, model: nn.Module) -> Places:
        """Find the places of a model.

        Raises:
            ConfigError: the model has none, or two of them have the same name.
        """
        by_name: dict[str, Place] = {}
        conditions: dict[str, tuple[Around, ...]] = {}
        for module, ways in ways_to_modules(model).items():
            if not isinstance(module, Place):
                continue
            if module.name in by_name:
                raise ConfigError(
                    f"two choices of the model are named {module.name!r}: give each a name of its own, or use the same "
                    "object in both places"
                )
            by_name[module.name], conditions[module.name] = module, ways
        if not by_name:
            raise ConfigError("the model has no choices: put a Choice, a DepthChoice or a WidthChoice into it")
        return cls(by_name, conditions)

    @property
    def search_space(self) -> SearchSpace:
        """The places as variables."""
        return SearchSpace(tuple(Variable(name, place.labels) for name, place in self.by_name.items()))

    def activate(self, architecture: Sequence[int]) -> None:
        """Let the model compute one network; (D,) indices of options."""
        for place, index in zip(self.by_name.values(), architecture, strict=True):
            place.active = int(index)


def ways_to_modules(model: nn.Module) -> dict[nn.Module, tuple[Around, ...]]:
    """Every module once, in the order of the model, with the ways in which a network uses it; ({},): always."""
    found: dict[nn.Module, list[Around]] = {}
    pending: list[tuple[nn.Module, Around]] = [(model, {})]
    while pending:
        module, around = pending.pop()
        ways = found.setdefault(module, [])
        if around not in ways:
            ways.append(around)
            pending.extend(reversed(_children(module, around)))
    always: Around = {}
    return {module: (always,) if always in ways else tuple(ways) for module, ways in found.items()}


def active_modules(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of the active network, each once, in the order of the model."""
    pending, seen = [model], {id(model)}
    while pending:
        module = pending.pop()
        yield module
        children = list(module.children())
        if isinstance(module, Place):
            children = [child for name, child in _options(module).items() if module.active in module.options_with(name)]
        new = [child for child in children if id(child) not in seen]
        seen.update(map(id, new))
        pending.extend(reversed(new))


def parts_used(model: nn.Module) -> dict[nn.Parameter, tuple[slice, ...]]:
    """Each parameter that the active network uses, and the part of it."""
    parts: dict[nn.Parameter, tuple[slice, ...]] = {}
    for module in active_modules(model):
        own = module.parts() if isinstance(module, Elastic) else {}
        for name, parameter in module.named_parameters(recurse=False):
            part = own.get(name, ())
            parts[parameter] = (*part, *map(slice, parameter.shape[len(part) :]))
    return parts


def _options(place: Place) -> dict[str, nn.Module]:
    options = getattr(place, "options", None)
    modules = {} if options is None else options._modules  # named_children has a module of two options once
    return {name: module for name, module in modules.items() if module is not None}


def _children(module: nn.Module, around: Around) -> list[tuple[nn.Module, Around]]:
    """The modules directly within a module, with the options that lead to each."""
    if not isinstance(module, Place):
        return [(child, around) for child in module.children()]
    within = []
    for name, child in _options(module).items():
        allowed = module.options_with(name) & around.get(module.name, module.options_with(name))
        within.append((child, {**around, module.name: allowed}))
    return within


def plain(model: nn.Module) -> nn.Module:
    """Take the active network out of a model: an ordinary module without any choice, with the same weights.

    The model is changed and must not be used any more. Modules that are used several times stay one.
    """
    done: dict[int, nn.Module] = {}

    def visit(module: nn.Module) -> nn.Module:
        if id(module) in done:
            return done[id(module)]
        taken = module
        while isinstance(taken, Place):
            taken = taken.alone()
        if isinstance(taken, Elastic):
            taken = taken.alone()
        done[id(module)] = done[id(taken)] = taken
        for name, child in taken._modules.items():  # with those that have two names, unlike named_children
            if child is not None:
                taken._modules[name] = visit(child)
        return taken

    return visit(model)
