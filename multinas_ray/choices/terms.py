"""Costs of a model's networks as sums over its modules: each counts where it is used, by the widths that it has.

Notation: D variables.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np
from torch import nn

from multinas_ray.choices.measuring import ModelMeter
from multinas_ray.choices.models import Around, Places, ways_to_modules
from multinas_ray.choices.width import Elastic, WidthChoice
from multinas_ray.spaces import FloatArray

MOST_VALUES = 100_000
"""Combinations of one term, at most. [ours]"""
MOST_RUNS = 300
"""Combinations of widths, at most, in which a module is measured that has none of its own. [ours]"""

MOST_TIMED = 12
"""The same for time. Others are timed at widths drawn at random. [ours]"""

Combination = tuple[int, ...]
"""Options of the widths of a part, in the order of its widths."""


@dataclass(eq=False)
class Part:
    """A module or a weight of a model that costs something where a network uses it."""

    ways: tuple[Around, ...]
    """The ways in which a network uses it."""
    widths: tuple[WidthChoice, ...] = ()
    """The chosen widths on which its cost depends."""
    costs: dict[Combination, float] = field(default_factory=dict)
    """Its cost for each combination of the widths, as far as it is known."""

    @property
    def combinations(self) -> Iterator[Combination]:
        """All combinations of the widths."""
        return itertools.product(*(range(len(width.labels)) for width in self.widths))

    @property
    def combination(self) -> Combination:
        """The active one."""
        return tuple(width.active for width in self.widths)

    def is_used(self, options: dict[str, int]) -> bool:
        """Whether a network with these options uses it."""
        return any(all(options[name] in allowed for name, allowed in way.items()) for way in self.ways)

    def term(self, places: Places) -> tuple[tuple[int, ...], FloatArray] | None:
        """Its variables, in rising order, and its cost for each combination of them; None: these are too many."""
        names = list(places.by_name)
        deciding = {name for way in self.ways for name in way}
        variables = tuple(sorted({names.index(name) for name in deciding | {width.name for width in self.widths}}))
        counts = [len(places.by_name[names[d]].labels) for d in variables]
        if np.prod(counts, dtype=np.float64) > MOST_VALUES:
            return None
        table = np.zeros(counts)
        for combination in np.ndindex(*counts):
            options = {names[d]: index for d, index in zip(variables, combination, strict=True)}
            if self.is_used(options):
                table[combination] = self.costs[tuple(options[width.name] for width in self.widths)]
        return variables, table


def parts_of_weights(model: nn.Module) -> list[Part]:
    """Each trainable weight of a model, with its number of values. The active options of widths are changed."""
    ways: dict[nn.Parameter, list[Around]] = {}
    owners: dict[nn.Parameter, tuple[nn.Module, str]] = {}
    for module, ways_to in ways_to_modules(model).items():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                ways.setdefault(parameter, []).extend(ways_to)
                if isinstance(module, Elastic) or parameter not in owners:
                    owners[parameter] = (module, name)
    parts = []
    for parameter, (module, name) in owners.items():
        part = Part(tuple(ways[parameter]), _widths_of(module) if isinstance(module, Elastic) else ())
        for combination in part.combinations:
            for width, index in zip(part.widths, combination, strict=True):
                width.active = index
            shape = list(parameter.shape)
            for axis, each in enumerate(module.parts()[name] if isinstance(module, Elastic) else ()):
                shape[axis] = len(range(*each.indices(shape[axis])))
            part.costs[combination] = float(np.prod(shape))
        parts.append(part)
    return parts


def parts_of_modules(meter: ModelMeter, rng: np.random.Generator) -> list[Part] | None:
    """Each module of a model that has operations of its own, with their multiply-adds.

    Those of a layer of chosen width depend on its widths. Where those of another module are found to differ, as the
    product of two features in an attention, they are taken to depend on all widths within it.

    Returns:
        The parts; None if those of a module differ by more than its widths, as where an option halves feature maps.
    """
    parts = {
        module: Part(ways, _widths_of(module) if isinstance(module, Elastic) else ())
        for module, ways in ways_to_modules(meter.model).items()
    }
    varying = _measure(meter, parts, rng)
    again = {module: Part(parts[module].ways, _widths_of(module)) for module in varying}
    if any(prod(len(width.labels) for width in part.widths) > MOST_RUNS for part in again.values()):
        return None
    parts |= again
    if again and _measure(meter, parts, rng):
        return None
    return [part for module, part in parts.items() if module in again or any(part.costs.values())]


def _measure(meter: ModelMeter, parts: dict[nn.Module, Part], rng: np.random.Generator) -> list[nn.Module]:
    """Measure parts in all their combinations; returns modules that were found with several costs for one."""
    varying: dict[nn.Module, None] = {}
    for architecture in covering_architectures(meter.places, list(parts.values()), rng):
        for module, flops in meter.own_flops(architecture).items():
            part = parts[module]
            if part.costs.setdefault(part.combination, flops) != flops:
                varying[module] = None
    return list(varying)


def covering_architectures(places: Places, parts: Sequence[Part], rng: np.random.Generator) -> Iterator[list[int]]:
    """Architectures that together use every part in every combination of its widths, about as few as it takes.

    Each begins with a part and a combination that are still open; as many others as agree with it are added.
    """
    open_ones = [(part, combination) for part in parts for combination in part.combinations]
    while open_ones:
        wanted: dict[str, frozenset[int]] = {}
        left = []
        for place in rng.permutation(len(open_ones)):
            part, combination = open_ones[place]
            for way in part.ways:
                needs = dict(way)
                for width, index in zip(part.widths, combination, strict=True):
                    needs[width.name] = needs.get(width.name, frozenset({index})) & {index}
                both = {name: wanted.get(name, options) & options for name, options in needs.items()}
                if all(both.values()):
                    wanted.update(both)
                    break
            else:
                left.append(open_ones[place])
        if len(left) == len(open_ones):
            return  # those that are left cannot be used at all
        open_ones = left
        yield [
            min(wanted[name]) if name in wanted else int(rng.integers(len(place.labels)))
            for name, place in places.by_name.items()
        ]


def _widths_of(module: nn.Module) -> tuple[WidthChoice, ...]:
    """The chosen widths of a layer, or of all layers within a module."""
    return tuple(each for each in module.modules() if isinstance(each, WidthChoice))


@dataclass(frozen=True)
class TimedParts:
    """The modules of a model, each to be timed where a network uses it."""

    by_module: Mapping[nn.Module, Part]
    """Each at the widths of its own, or of all within it where these are few; without costs."""

    @classmethod
    def of(cls, model: nn.Module) -> TimedParts:
        """The modules of a model."""
        parts = {}
        for module, ways in ways_to_modules(model).items():
            if not isinstance(module, WidthChoice):
                widths = _widths_of(module)
                is_few = isinstance(module, Elastic) or prod(len(width.labels) for width in widths) <= MOST_TIMED
                parts[module] = Part(ways, widths if is_few else ())
        return cls(parts)

    def covering_architectures(self, places: Places, rng: np.random.Generator) -> Iterator[list[int]]:
        """Architectures that together use every module at each of its widths."""
        return covering_architectures(places, list(self.by_module.values()), rng)
