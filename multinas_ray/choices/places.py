"""The places of a model at which networks differ: one of several modules, or the first of several."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import nn

from multinas_ray.choices.building import chosen_index
from multinas_ray.errors import ConfigError

Option = nn.Module | Callable[[], nn.Module]
"""A module, or a function that makes it where it is needed."""


class Place(nn.Module, ABC):
    """A place of a model at which networks differ; to a search it is a variable.

    It may stand anywhere in a model: in a loop, in a branch, within an option of another place. One that is used
    several times, as the same object, is one variable.

    Args:
        name: name of the variable, unique in the model.
        labels: names of its options, unique and at least one.

    Raises:
        ConfigError: a name is empty or not a text, or labels are not unique.
    """

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        super().__init__()
        if not _is_name(name):
            raise ConfigError(f"the name of a choice must be a text that is not empty and can be printed, got {name!a}")
        faulty = [label for label in labels if not _is_name(label)]
        if faulty or not labels or len(set(labels)) != len(labels):
            raise ConfigError(
                f"the options of the choice {name!r} must be one or more different names that can be printed, got "
                f"{list(labels)!a}"
            )
        self.name = name
        self.labels = tuple(labels)
        chosen = chosen_index(name, self.labels)
        self.built = range(len(self.labels)) if chosen is None else range(chosen, chosen + 1)
        """Indices of the options with which it was built: all of them, or one."""
        self.active = self.built[0]
        """Index of the option that computes."""

    @abstractmethod
    def alone(self) -> nn.Module:
        """An ordinary module that computes what the active option does, with the same weights."""

    @abstractmethod
    def options_with(self, child: str) -> frozenset[int]:
        """Indices of the options that use a module of `options`, by its name there."""

    def extra_repr(self) -> str:
        """The text that print shows for the place."""
        return f"{self.name!r}, {self.labels[self.active]!r} of {', '.join(self.labels)}"


class Choice(Place):
    """One of several modules, which take the same inputs.

    >>> from torch import nn
    >>> from multinas_ray.choices import Choice
    >>> stage = Choice("stage2", {"conv3": nn.Conv2d(8, 8, 3, padding=1), "skip": nn.Identity()})

    Args:
        name: name of the variable, unique in the model.
        options: the modules by their names. A function that makes a module is called where the module is needed, so
            that a network which does not use it never has it in memory.

    Raises:
        ConfigError: there is no option, or one is neither a module nor a function that makes one.
    """

    def __init__(self, name: str, options: Mapping[str, Option]) -> None:
        super().__init__(name, list(options))
        made = list(options.values())
        self.options = nn.ModuleDict({str(index): _module(name, made[index]) for index in self.built})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the active option gives for the same arguments."""
        return self.options[str(self.active)](*args, **kwargs)

    def alone(self) -> nn.Module:
        """The active option."""
        return self.options[str(self.active)]

    def options_with(self, child: str) -> frozenset[int]:
        """The option itself."""
        return frozenset({int(child)})


class DepthChoice(Place):
    """The first of several modules in a row; each gets what the one before it gave.

    Its options are named by the numbers of modules.

    Args:
        name: name of the variable, unique in the model.
        modules: the modules, in their order, or functions that make them.
        depths: numbers of modules to choose from, in rising order, 0 to all; None: 1 to all.

    Raises:
        ConfigError: the depths are not in rising order or not within 0 to the number of modules.
    """

    def __init__(self, name: str, modules: Sequence[Option], depths: Sequence[int] | None = None) -> None:
        self.depths = tuple(range(1, len(modules) + 1) if depths is None else depths)
        is_rising = all(low < high for low, high in pairwise(self.depths))
        if not self.depths or not is_rising or self.depths[0] < 0 or self.depths[-1] > len(modules):
            raise ConfigError(
                f"the depths of the choice {name!r} must rise from at least 0 to at most its {len(modules)} modules, "
                f"got {self.depths}"
            )
        depths_text = [str(depth) for depth in self.depths]
        super().__init__(name, depths_text)
        self.options = nn.ModuleList(_module(name, each) for each in modules[: self.depths[self.built[-1]]])

    def forward(self, input: Any) -> Any:
        """What the last of the active modules gives."""
        for module in list(self.options)[: self.depths[self.active]]:
            input = module(input)
        return input

    def alone(self) -> nn.Module:
        """The active modules in a row."""
        return nn.Sequential(*list(self.options)[: self.depths[self.active]])

    def options_with(self, child: str) -> frozenset[int]:
        """The depths that reach the module."""
        return frozenset(index for index, depth in enumerate(self.depths) if depth > int(child))


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name) and name.isprintable()


def _module(name: str, option: Option) -> nn.Module:
    module = option if isinstance(option, nn.Module) else option() if callable(option) else option
    if not isinstance(module, nn.Module):
        raise ConfigError(
            f"an option of the choice {name!r} must be a module or a function without arguments that makes one, got "
            f"{option!r}"
        )
    return module
