"""Extension points: classes and functions that settings and records call by a name, ours and those of users."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from multinas_ray.errors import ConfigError

Class = TypeVar("Class", bound=Callable[..., Any])


class Registry(Generic[Class]):
    """The classes behind the names of one extension point.

    Args:
        what: what one of them is, for errors, such as "data source".
        built_in: names of the package's own -> the modules that register them, imported when they are asked for.
    """

    _all: ClassVar[list[Registry[Any]]] = []

    def __init__(self, what: str, built_in: Mapping[str, str] | None = None) -> None:
        Registry._all.append(self)
        self._what = what
        self._built_in = dict(built_in or {})
        self._classes: dict[str, Class] = {}

    @property
    def names(self) -> list[str]:
        """All names that are known."""
        return sorted({*self._built_in, *self._classes})

    def add(self, name: str, each: Class) -> None:
        """Make a class known by a name.

        Raises:
            ConfigError: another class has the name already.
        """
        known = self._classes.get(name, each)
        is_own = self._built_in.get(name, each.__module__) == each.__module__
        # A module that is imported anew makes its classes anew.
        if not is_own or (known.__module__, known.__qualname__) != (each.__module__, each.__qualname__):
            owner = self._built_in.get(name, known.__module__)
            raise ConfigError(f"a {self._what} {name} is registered already, by {owner}; choose another name")
        self._classes[name] = each

    def check(self, name: object) -> str:
        """Return a name that is known, without importing anything.

        Raises:
            ConfigError: no class is known by it.
        """
        if not isinstance(name, str) or name not in self.names:
            raise ConfigError(
                f"no {self._what} is registered by the name {name!r}; known are {', '.join(self.names)}. Import the "
                "module that registers your own (on the command line: --import my_module.py)"
            )
        return name

    def find(self, name: object) -> Class:
        """Return the class of a name.

        Raises:
            ConfigError: no class is known by it.
        """
        known = self.check(name)
        if known not in self._classes:
            importlib.import_module(self._built_in[known])
        return self._classes[known]

    @staticmethod
    def modules_of(names: Collection[str]) -> list[str]:
        """The modules, outside of this package, that have registered any of the names."""
        given = [each for registry in Registry._all for name, each in registry._classes.items() if name in names]
        own = [each.__module__ for each in given if each.__module__.partition(".")[0] != __name__.partition(".")[0]]
        return list(dict.fromkeys(own))
