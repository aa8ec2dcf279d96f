"""Costs of architectures: parameters, FLOPs, latency from a look-up table, and kinds of your own.

Notation: K distributions, D variables, C categories (padded), N architectures.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
import numpy.typing as npt

from multinas_ray.core import CategoryLayout, sample_architectures
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.registry import Registry
from multinas_ray.settings import Unchecked, checked
from multinas_ray.spaces.checked_costs import with_checked_costs
from multinas_ray.spaces.descent import descend
from multinas_ray.spaces.search_space import IntArray

FloatArray = npt.NDArray[np.float64]
CostClass = TypeVar("CostClass", bound="type[Cost]")
CostT = TypeVar("CostT", bound="Cost")
TableCostT = TypeVar("TableCostT", bound="TableCost")

NUM_DRAWS = 1000
"""Architectures drawn to estimate an expected cost that has no formula, or to look for a cheap architecture. [ours]"""

_kinds: Registry[type["Cost"]] = Registry("kind of cost", {"measured": "multinas_ray.choices.costs"})


class Cost(ABC):
    """A cost of architectures. A kind of your own is a subclass under `register_cost`, often a frozen dataclass.

    A search can minimise a cost, keep it within limits and record it. If the cost is not a sum over the choices,
    expected costs are estimated from draws, and networks within a limit are found by drawing and by local search.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        own = vars(cls).get("__call__")
        if own is not None and not getattr(own, "__isabstractmethod__", False):
            type.__setattr__(cls, "__call__", with_checked_costs(own))

    kind: ClassVar[str]
    """Name of the kind in records."""
    num_draws: ClassVar[int] = NUM_DRAWS
    """Architectures that are drawn where there is no formula."""
    name: str
    """Name of the cost, e.g. ``params``, and of its column in the records."""
    unit: str
    """Unit for reports, e.g. ``ms``; empty for a count."""
    num_categories: tuple[int, ...]
    """Number of choices of each variable, (D,)."""

    @abstractmethod
    def __call__(self, architectures: npt.ArrayLike) -> FloatArray:
        """Costs of (N, D) architectures, (N,) float64; `checked` refuses architectures that are not of the space."""

    @property
    @abstractmethod
    def minimum(self) -> float:
        """Cost of the cheapest architecture, or a lower bound."""

    @property
    @abstractmethod
    def maximum(self) -> float:
        """Cost of the most expensive architecture, or an upper bound; it counts as a complexity of 1 in a search."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description with the kind's name under "kind", for the record of a run."""

    @classmethod
    @abstractmethod
    def from_dict(cls: type[CostT], fields: Mapping[str, Any]) -> CostT:
        """The cost with the fields of `to_dict`; KeyError, TypeError or ConfigError if they do not fit."""

    @property
    def additive(self) -> "AdditiveCost | None":
        """The same cost as a sum over the choices; None if it is not such a sum."""
        return None

    def argmin(self) -> IntArray:
        """A cheap architecture, (D,), found by local search from the cheapest of `num_draws` random ones."""
        shape = (self.num_draws, len(self.num_categories))
        rows_ND = np.random.default_rng(0).integers(0, np.asarray(self.num_categories), size=shape)
        return descend(rows_ND[self(rows_ND).argmin()], self.num_categories, self)

    def expectation(self, probs: npt.ArrayLike) -> FloatArray:
        """Expected cost under each of K independent categorical distributions, (K,): the mean of `num_draws` draws.

        Args:
            probs: (K, D, C), zero in the padded places.

        Raises:
            ConfigError: The shape does not fit.
        """
        probs_KDC = self.checked_probs(probs)
        layout, rng = CategoryLayout.from_num_categories(self.num_categories), np.random.default_rng(0)
        draws_KND = [
            sample_architectures(probs_KDC, np.full(self.num_draws, k), layout, rng) for k in range(len(probs_KDC))
        ]
        return np.array([self(draws_ND).mean() for draws_ND in draws_KND])

    def checked(self, architectures: npt.ArrayLike) -> IntArray:
        """The architectures as (N, D) indices of the space.

        Raises:
            ConfigError: The shape does not fit, or an index is out of range.
        """
        rows_ND = np.asarray(architectures)
        if rows_ND.ndim != 2 or rows_ND.shape[1] != len(self.num_categories):
            raise ConfigError(
                f"architectures of the cost {self.name!r} must have the shape (N, {len(self.num_categories)}), "
                f"got {rows_ND.shape}"
            )
        if ((rows_ND < 0) | (rows_ND >= np.asarray(self.num_categories))).any():
            raise ConfigError(
                f"indices for the cost {self.name!r} must be below {self.num_categories}, one bound for each variable, "
                "but an index is out of range: give architectures of the cost's space"
            )
        return rows_ND

    def checked_probs(self, probs: npt.ArrayLike) -> FloatArray:
        """The probabilities as (K, D, C) numbers.

        Raises:
            ConfigError: The shape does not fit.
        """
        probs_KDC = np.asarray(probs, dtype=np.float64)
        shape = (len(self.num_categories), max(self.num_categories, default=0))
        if probs_KDC.ndim != 3 or probs_KDC.shape[1:] != shape:
            raise ConfigError(
                f"probs for the cost {self.name!r} must have the shape (K, {shape[0]}, {shape[1]}), got "
                f"{probs_KDC.shape}"
            )
        return probs_KDC


def register_cost(cost: CostClass) -> CostClass:
    """Register a kind of cost under its `kind`, so that a recorded cost can be read again; use it as a decorator.

    Returns:
        The class, unchanged.

    Raises:
        ConfigError: Another kind has the name already.
    """
    _kinds.add(cost.kind, cost)
    return cost


def cost_from_dict(description: Mapping[str, Any]) -> Cost:
    """The cost that `Cost.to_dict` described.

    Raises:
        ConfigError: No cost of its kind is registered.
        StateError: The description does not have the form of its kind.
    """
    if not isinstance(description, Mapping):
        raise StateError(f"a cost must be described by its kind and fields, got {description!r}: restore a copy")
    fields = dict(description)
    kind = _kinds.find(fields.pop("kind", ""))
    try:
        return kind.from_dict(fields)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # fields of other forms, in costs of any kind
        raise StateError(f"{description} does not describe a cost ({error}): restore a copy") from error


@dataclass(frozen=True, eq=False)
class TableCost(Cost):
    """A cost that is computed from a table with the cost of each choice. Abstract: subclasses say how choices combine.

    A larger cost at one variable must never make the whole cheaper, so that the cheapest choices together are the
    cheapest architecture.
    """

    name: str
    """Name of the cost, e.g. ``params``, and of its column in the records."""
    table: Annotated[FloatArray, Unchecked()]
    """Cost of each choice, (D, C), zero beyond a variable's choices."""
    num_categories: tuple[int, ...]
    """Number of choices of each variable, (D,)."""
    base: float = 0.0
    """Cost of the parts that every architecture has, e.g. stem and head."""
    unit: str = ""
    """Unit for reports, e.g. ``ms``; empty for a count."""

    def __post_init__(self) -> None:
        table_DC = _numbers(self.table, f"the table of cost {self.name!r}")
        shape = (len(self.num_categories), max(self.num_categories, default=0))
        if table_DC.shape != shape:
            raise ConfigError(
                f"the table of cost {self.name!r} must have one row for each variable and one column for each "
                f"choice, {shape}, got {table_DC.shape}"
            )
        if not np.isfinite(table_DC).all():
            raise ConfigError(
                f"costs must be finite, the table of {self.name!r} is not: "
                "pad missing choices with 0, and leave choices that cannot run out of the space"
            )
        table_DC[~self._valid_DC] = 0.0
        table_DC.setflags(write=False)
        object.__setattr__(self, "table", table_DC)

    @classmethod
    def from_rows(
        cls: type[TableCostT], name: str, rows: Sequence[Sequence[float]], base: float = 0.0, unit: str = ""
    ) -> TableCostT:
        """A cost from one row for each variable, with an entry for each of its choices."""
        num_categories = tuple(len(row) for row in rows)
        table_DC = np.zeros((len(rows), max(num_categories, default=0)))
        for d, row in enumerate(rows):
            table_DC[d, : len(row)] = _numbers(row, f"row {d} of cost {name!r}")
        return cls(name, table_DC, num_categories, base, unit)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description, for the record of a run."""
        rows = [self.table[d, :count].tolist() for d, count in enumerate(self.num_categories)]
        return {"kind": self.kind, "name": self.name, "rows": rows, "base": self.base, "unit": self.unit}

    @classmethod
    def from_dict(cls: type[TableCostT], fields: Mapping[str, Any]) -> TableCostT:
        """The cost with the fields of `to_dict`."""
        return cls.from_rows(**fields)

    @property
    def _valid_DC(self) -> npt.NDArray[np.bool_]:
        return np.arange(max(self.num_categories, default=0)) < np.asarray(self.num_categories)[:, None]

    def __call__(self, architectures: npt.ArrayLike) -> FloatArray:
        """Costs of (N, D) architectures, (N,) float64.

        Raises:
            ConfigError: the shape is another or an index is out of range.
        """
        rows_ND = self.checked(architectures)
        return self._together(self.table[np.arange(rows_ND.shape[1]), rows_ND])

    @abstractmethod
    def _together(self, chosen_ND: FloatArray) -> FloatArray:
        """(N,) costs of architectures from those of their choices."""

    def argmin(self) -> IntArray:
        """The cheapest architecture, (D,), with the first of tied choices."""
        return np.asarray(np.where(self._valid_DC, self.table, np.inf).argmin(axis=1), dtype=np.int64)

    def argmax(self) -> IntArray:
        """The most expensive architecture, (D,), with the first of tied choices."""
        return np.asarray(np.where(self._valid_DC, self.table, -np.inf).argmax(axis=1), dtype=np.int64)

    @property
    def minimum(self) -> float:
        """Cost of the cheapest architecture."""
        return float(self(self.argmin()[None])[0])

    @property
    def maximum(self) -> float:
        """Cost of the most expensive architecture."""
        return float(self(self.argmax()[None])[0])


@register_cost
@checked
@dataclass(frozen=True, eq=False)
class AdditiveCost(TableCost):
    """``base + sum_d table[d, a_d]`` of an architecture `a`; integers below 2**53 are exact.

    Raises:
        ConfigError: The shapes disagree or a number is not finite.
    """

    kind: ClassVar[str] = "additive"

    def _together(self, chosen_ND: FloatArray) -> FloatArray:
        costs_N: FloatArray = self.base + chosen_ND.sum(axis=1)
        return costs_N

    @property
    def additive(self) -> "AdditiveCost":
        """This cost."""
        return self

    def expectation(self, probs: npt.ArrayLike) -> FloatArray:
        """Exact expected cost under each of K independent categorical distributions, (K,).

        Args:
            probs: (K, D, C), zero in the padded places.

        Raises:
            ConfigError: The shape does not fit.
        """
        expected_K: FloatArray = self.base + np.einsum("kdc,dc->k", self.checked_probs(probs), self.table)
        return expected_K


@register_cost
@checked
@dataclass(frozen=True, eq=False)
class MaximumCost(TableCost):
    """``max(base, max_d table[d, a_d])`` of an architecture `a`: the need of its worst block, e.g. of memory.

    Raises:
        ConfigError: The shapes disagree or a number is not finite.
    """

    kind: ClassVar[str] = "maximum"

    def _together(self, chosen_ND: FloatArray) -> FloatArray:
        costs_N: FloatArray = chosen_ND.max(axis=1, initial=self.base)
        return costs_N

    def expectation(self, probs: npt.ArrayLike) -> FloatArray:
        """Exact expected cost under each of K independent categorical distributions, (K,).

        The cost is at most v if that of every choice is, and the probability of that is a product over the variables.

        Args:
            probs: (K, D, C), zero in the padded places.

        Raises:
            ConfigError: The shape does not fit.
        """
        probs_KDC = self.checked_probs(probs)
        values_V = np.unique(np.maximum(self.table[self._valid_DC], self.base))
        at_most_VK = np.stack(
            [np.where(self.table <= value, probs_KDC, 0.0).sum(axis=2).prod(axis=1) for value in values_V]
        )
        expected_K: FloatArray = values_V @ np.diff(at_most_VK, axis=0, prepend=0.0)
        return expected_K


def _numbers(values: object, name: str) -> FloatArray:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} must hold numbers, in rows of equal length: {error}") from error
