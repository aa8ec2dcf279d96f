"""Costs that are sums over the choices: parameters, FLOPs, latency by look-up table.

Notation: K distributions, D variables, C categories (padded), N architectures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.settings import Unchecked, checked
from multinas_ray.spaces.search_space import IntArray

FloatArray = npt.NDArray[np.float64]


@checked
@dataclass(frozen=True, eq=False)
class AdditiveCost:
    """``base + sum_d table[d, a_d]`` of an architecture `a`; integers below 2**53 are exact.

    Raises:
        ConfigError: the shapes disagree or a number is not finite.
    """

    name: str
    """What is counted, e.g. ``params``; the name of its column in the records."""
    table: Annotated[FloatArray, Unchecked()]
    """Cost of each choice, (D, C), zero in the places beyond a variable's choices."""
    num_categories: tuple[int, ...]
    """Number of choices of each variable, (D,)."""
    base: float = 0.0
    """Cost of what every architecture has, e.g. stem and head."""
    unit: str = ""
    """Unit for reports, e.g. ``ms``; empty for a count."""

    def __post_init__(self) -> None:
        table_DC = _numbers(self.table, f"the table of cost {self.name!r}")
        shape = (len(self.num_categories), max(self.num_categories, default=0))
        if table_DC.shape != shape:
            raise ConfigError(
                f"the table of cost {self.name!r} has one row for each variable and one column for each "
                f"choice, {shape} here; got {table_DC.shape}."
            )
        if not np.isfinite(table_DC).all():
            raise ConfigError(
                f"costs must be finite, the table of {self.name!r} is not; "
                "pad missing choices with 0 and leave choices that cannot run out of the space"
            )
        table_DC[~self._valid_DC] = 0.0
        table_DC.setflags(write=False)
        object.__setattr__(self, "table", table_DC)

    @classmethod
    def from_rows(cls, name: str, rows: Sequence[Sequence[float]], base: float = 0.0, unit: str = "") -> "AdditiveCost":
        """A cost from one row for each variable, as long as the variable has choices."""
        num_categories = tuple(len(row) for row in rows)
        table_DC = np.zeros((len(rows), max(num_categories, default=0)))
        for d, row in enumerate(rows):
            table_DC[d, : len(row)] = _numbers(row, f"row {d} of cost {name!r}")
        return cls(name, table_DC, num_categories, base, unit)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description, for the record of a run."""
        rows = [self.table[d, :count].tolist() for d, count in enumerate(self.num_categories)]
        return {"name": self.name, "rows": rows, "base": self.base, "unit": self.unit}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "AdditiveCost":
        """The cost of `to_dict`'s description.

        Raises:
            StateError: the description is not of this form.
        """
        try:
            return cls.from_rows(**fields)
        except TypeError as error:
            raise StateError(f"{fields} does not describe a cost ({error}): restore a copy") from error

    @property
    def _valid_DC(self) -> npt.NDArray[np.bool_]:
        return np.arange(max(self.num_categories, default=0)) < np.asarray(self.num_categories)[:, None]

    def __call__(self, architectures: npt.ArrayLike) -> FloatArray:
        """Costs of (N, D) architectures, (N,) float64.

        Raises:
            ConfigError: the shape is another or an index is out of range.
        """
        rows_ND = np.asarray(architectures)
        if rows_ND.ndim != 2 or rows_ND.shape[1] != len(self.num_categories):
            raise ConfigError(
                f"Cost {self.name!r} takes architectures of the shape (N, {len(self.num_categories)}); "
                f"got {rows_ND.shape}."
            )
        if ((rows_ND < 0) | (rows_ND >= np.asarray(self.num_categories))).any():
            raise ConfigError(
                f"Cost {self.name!r} takes indices below {self.num_categories}, one bound for each variable; "
                "an index is out of range. Is it an architecture of another space?"
            )
        costs_N: FloatArray = self.base + self.table[np.arange(rows_ND.shape[1]), rows_ND].sum(axis=1)
        return costs_N

    def argmin(self) -> IntArray:
        """The cheapest architecture, (D,); the first choice where some tie."""
        return np.asarray(np.where(self._valid_DC, self.table, np.inf).argmin(axis=1), dtype=np.int64)

    def argmax(self) -> IntArray:
        """The dearest architecture, (D,); the first choice where some tie."""
        return np.asarray(np.where(self._valid_DC, self.table, -np.inf).argmax(axis=1), dtype=np.int64)

    @property
    def minimum(self) -> float:
        """Cost of the cheapest architecture."""
        return float(self(self.argmin()[None])[0])

    @property
    def maximum(self) -> float:
        """Cost of the dearest architecture."""
        return float(self(self.argmax()[None])[0])

    def expectation(self, probs: npt.ArrayLike) -> FloatArray:
        """Exact expected cost under each of K independent categorical distributions, (K,).

        Args:
            probs: (K, D, C), zero in the padded places.

        Raises:
            ConfigError: the shape is another.
        """
        probs_KDC = np.asarray(probs, dtype=np.float64)
        if probs_KDC.ndim != 3 or probs_KDC.shape[1:] != self.table.shape:
            raise ConfigError(
                f"Cost {self.name!r} takes probs of the shape (K, {self.table.shape[0]}, "
                f"{self.table.shape[1]}); got {probs_KDC.shape}."
            )
        expected_K: FloatArray = self.base + np.einsum("kdc,dc->k", probs_KDC, self.table)
        return expected_K


def _numbers(values: object, name: str) -> FloatArray:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must hold numbers, in rows of equal length: {error}") from error
