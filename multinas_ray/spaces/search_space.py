"""A search space of named variables with named choices, and the conversion between names and indices.

Notation: D variables, C choices (of the variable with the most), N architectures.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from multinas_ray.errors import ConfigError
from multinas_ray.settings import Unchecked, checked

IntArray = npt.NDArray[np.int64]

_PLAIN = re.compile(r"""[^\s"\x00-\x1f\x7f-\x9f]+""")
"""A text that stands without quotes."""


@checked
@dataclass(frozen=True)
class Variable:
    """One categorical decision.

    Raises:
        ConfigError: There are no choices, or two of them are equal.
    """

    name: str
    """Name of the decision; unique in its space."""
    choices: Annotated[tuple[Any, ...], Unchecked()]
    """Labels of the choices, all different; strings or any values that compare with ``==``."""

    def __post_init__(self) -> None:
        if isinstance(self.choices, str) or not isinstance(self.choices, Sequence):
            raise ConfigError(f"choices must be a list, got {self.choices!r}")
        object.__setattr__(self, "choices", tuple(self.choices))
        if not self.choices:
            raise ConfigError(
                f"a variable must have at least one choice, variable {self.name!r} has none: "
                "give it choices or leave it out of the space"
            )
        for index, label in enumerate(self.choices):
            if self.choices.index(label) != index:
                raise ConfigError(
                    f"the choices of a variable must differ, variable {self.name!r} has {label!r} at "
                    f"{self.choices.index(label)} and {index}: rename or remove one of them"
                )

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The labels as texts that differ, each without blanks or in JSON's quotes, so that joined ones do too."""
        shown = [str(label) for label in self.choices]
        told = [repr(label) if shown.count(text) > 1 else text for label, text in zip(self.choices, shown, strict=True)]
        if len(set(told)) < len(told):
            told = [f"{index}:{text}" for index, text in enumerate(told)]
        return tuple(text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False) for text in told)

    def index(self, label: object) -> int:
        """Index of a choice by its label.

        Raises:
            ConfigError: No choice has this label.
        """
        if label not in self.choices:
            raise ConfigError(f"variable {self.name!r} has no choice {label!r}: use one of {list(self.choices)!r}")
        return self.choices.index(label)


@checked
@dataclass(frozen=True)
class SearchSpace:
    """The product of its variables; an architecture is the index of one choice for each variable, in their order.

    Raises:
        ConfigError: There are no variables, or two have the same name.
    """

    variables: tuple[Variable, ...]
    """The D variables, in the order of an architecture's indices."""

    def __post_init__(self) -> None:
        if not self.variables:
            raise ConfigError("a search space must have at least one variable, got none: give it variables")
        names = [variable.name for variable in self.variables]
        for index, name in enumerate(names):
            if names.index(name) != index:
                raise ConfigError(
                    f"the names of variables must differ, {name!r} is the name of variables "
                    f"{names.index(name)} and {index}: rename one of them"
                )

    @cached_property
    def num_categories(self) -> tuple[int, ...]:
        """Number of choices of each variable, (D,)."""
        return tuple(len(variable.choices) for variable in self.variables)

    @property
    def labels(self) -> list[list[str]]:
        """The labels of the choices as text, one list for each variable."""
        return [list(variable.texts) for variable in self.variables]

    @property
    def num_variables(self) -> int:
        """D."""
        return len(self.variables)

    @property
    def num_architectures(self) -> int:
        """Size of the space, exact however large."""
        return math.prod(self.num_categories)

    def encode(self, choices: Mapping[str, Any]) -> tuple[int, ...]:
        """Architecture of a mapping from every variable's name to a choice's label.

        Raises:
            ConfigError: A variable is missing or unknown, or a label is unknown.
        """
        names = [variable.name for variable in self.variables]
        missing = [name for name in names if name not in choices]
        unknown = [name for name in choices if name not in names]
        if missing or unknown:
            raise ConfigError(
                f"an architecture must name every variable once, missing {missing}, unknown {unknown}: "
                f"the variables are {names}"
            )
        return tuple(variable.index(choices[variable.name]) for variable in self.variables)

    def decode(self, architecture: Sequence[int] | IntArray) -> dict[str, Any]:
        """Mapping from every variable's name to the chosen label; the inverse of `encode`.

        Raises:
            ConfigError: `architecture` is not D indices in range.
        """
        indices = self.check(np.asarray(architecture)[None])[0].tolist()
        return {variable.name: variable.choices[index] for variable, index in zip(self.variables, indices, strict=True)}

    def describe(self, architecture: Sequence[int] | IntArray, used: Sequence[bool] | None = None) -> str:
        """The texts of the chosen labels in the order of the variables, separated by blanks, for tables and records.

        Args:
            architecture: (D,) indices.
            used: (D,) whether its network uses each variable, see `Equivalence.used`; others are told as "-".
                None: it uses all.

        Raises:
            ConfigError: `architecture` is not D indices in range.
        """
        indices = self.check(np.asarray(architecture)[None])[0].tolist()
        told = zip(self.variables, indices, used or [True] * len(indices), strict=True)
        return " ".join(variable.texts[index] if is_used else "-" for variable, index, is_used in told)

    def check(self, architectures: npt.ArrayLike) -> IntArray:
        """The architectures as an (N, D) int64 array, N >= 0.

        Raises:
            ConfigError: The array is not two-dimensional, not D wide or not of integers, or an index is out of range.
        """
        rows_ND = _integers(architectures)
        if rows_ND.ndim != 2 or rows_ND.shape[1] != self.num_variables:
            raise ConfigError(
                f"architectures must have the shape (N, {self.num_variables}), one index for each variable, "
                f"got {rows_ND.shape}"
            )
        limits_D = np.asarray(self.num_categories)
        wrong = np.argwhere((rows_ND < 0) | (rows_ND >= limits_D))
        if len(wrong):
            row, column = wrong[0]
            raise ConfigError(
                f"index {rows_ND[row, column]} of architecture {row} is out of range: variable "
                f"{self.variables[column].name!r} has the choices 0 to {limits_D[column] - 1}"
            )
        return rows_ND

    def enumerate(self, max_architectures: int = 1_000_000) -> IntArray:
        """All architectures in lexicographic order, (num_architectures, D).

        Raises:
            ConfigError: The space is larger than `max_architectures`.
        """
        if self.num_architectures > max_architectures:
            raise ConfigError(
                f"a listed space must have at most max_architectures={max_architectures} architectures, this one has "
                f"{self.num_architectures}: draw from it with random(), or raise the limit"
            )
        grid = np.indices(self.num_categories, dtype=np.int64)
        return np.ascontiguousarray(grid.reshape(self.num_variables, -1).T)

    def random(self, num_samples: int, rng: np.random.Generator) -> IntArray:
        """Architectures drawn uniformly with replacement, (num_samples, D)."""
        shape = (num_samples, self.num_variables)
        return rng.integers(0, np.asarray(self.num_categories), size=shape, dtype=np.int64)


def _integers(architectures: npt.ArrayLike) -> IntArray:
    try:
        rows = np.asarray(architectures)
    except ValueError as error:
        raise ConfigError(f"architectures must be rows of equal length: {error}") from error
    if rows.size and not np.issubdtype(rows.dtype, np.integer):
        raise ConfigError(
            f"architectures must be integers, the indices of choices, got {rows.dtype}: use encode() for labels"
        )
    return rows.astype(np.int64)
