"""Costs that are sums of terms, each of which depends on a few variables.

Notation: K distributions, D variables, C categories (padded), N architectures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
import numpy.typing as npt

from multinas_ray.errors import ConfigError
from multinas_ray.settings import Unchecked, checked
from multinas_ray.spaces.costs import NUM_DRAWS, AdditiveCost, Cost, FloatArray, register_cost
from multinas_ray.spaces.descent import descend
from multinas_ray.spaces.search_space import IntArray

Terms = Mapping[tuple[int, ...], FloatArray]
"""For variables in rising order the cost of each combination of their choices, one axis for each variable."""


@register_cost
@checked
@dataclass(frozen=True, eq=False)
class FactoredCost(Cost):
    """A sum of terms of a few variables each, as the cost of layers whose two widths are chosen.

    Raises:
        ConfigError: a term does not fit the numbers of choices, or is not finite.
    """

    kind: ClassVar[str] = "factored"

    name: str
    """Name of the cost, e.g. ``params``, and of its column in the records."""
    terms: Annotated[Terms, Unchecked()]
    """The terms by their variables."""
    num_categories: tuple[int, ...]
    """Number of choices of each variable, (D,)."""
    base: float = 0.0
    """Cost of the parts that every architecture has."""
    unit: str = ""
    """Unit for reports, e.g. ``ms``; empty for a count."""

    def __post_init__(self) -> None:
        terms = self.terms
        if not isinstance(terms, Mapping) or not all(isinstance(each, tuple) for each in terms):
            raise ConfigError(f"the terms of cost {self.name!r} must be arrays by tuples of variables, got {terms!r}")
        for variables, table in terms.items():
            is_known = set(variables) <= set(range(len(self.num_categories)))
            is_rising = list(variables) == sorted(set(variables)) if is_known else False
            if not is_rising or np.shape(table) != tuple(self.num_categories[d] for d in variables):
                raise ConfigError(
                    f"a term of cost {self.name!r} must have a value for each combination of the choices of its "
                    f"variables, {variables} has the shape {np.shape(table)}"
                )
            if not np.isfinite(table).all():
                raise ConfigError(f"costs must be finite, a term of {self.name!r} is not")

    def __call__(self, architectures: npt.ArrayLike) -> FloatArray:
        """Costs of (N, D) architectures, (N,) float64."""
        rows_ND = self.checked(architectures)
        costs_N = np.full(len(rows_ND), self.base)
        for variables, table in self.terms.items():
            costs_N += table[tuple(rows_ND[:, d] for d in variables)]
        return costs_N

    def expectation(self, probs: npt.ArrayLike) -> FloatArray:
        """Exact expected cost under each of K independent categorical distributions, (K,)."""
        probs_KDC = self.checked_probs(probs)
        costs_K = np.full(len(probs_KDC), self.base)
        for variables, table in self.terms.items():
            expected = np.broadcast_to(table, (len(probs_KDC), *table.shape))
            for d in reversed(variables):
                expected = np.einsum("k...c,kc->k...", expected, probs_KDC[:, d, : self.num_categories[d]])
            costs_K += expected
        return costs_K

    @cached_property
    def minimum(self) -> float:
        """Cost of the cheapest architecture that local search finds."""
        return float(self(self.argmin()[None])[0])

    @cached_property
    def maximum(self) -> float:
        """Cost of the most expensive architecture that local search finds."""
        shape = (NUM_DRAWS, len(self.num_categories))
        rows_ND: IntArray = np.random.default_rng(0).integers(0, np.asarray(self.num_categories), size=shape)
        rows_ND[0] = np.asarray(self.num_categories) - 1
        start = rows_ND[self(rows_ND).argmax()]
        return float(self(descend(start, self.num_categories, lambda rows: -self(rows))[None])[0])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON description, for the record of a run."""
        terms = [[list(variables), np.asarray(table).tolist()] for variables, table in self.terms.items()]
        counts = list(self.num_categories)
        return {
            "kind": self.kind,
            "name": self.name,
            "terms": terms,
            "num_categories": counts,
            "base": self.base,
            "unit": self.unit,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> FactoredCost:
        """The cost with the fields of `to_dict`."""
        terms = {tuple(variables): np.array(table, dtype=np.float64) for variables, table in fields["terms"]}
        return cls(**{**fields, "terms": terms, "num_categories": tuple(fields["num_categories"])})


def sum_of_terms(
    name: str, terms: Iterable[tuple[tuple[int, ...], FloatArray]], num_categories: tuple[int, ...], base: float
) -> AdditiveCost | FactoredCost:
    """The sum of terms as a cost of the simplest kind.

    Terms lose variables that make no difference in them, and those of the same variables are added.

    Args:
        name: name of the cost.
        terms: variables in rising order and the cost of each combination of their choices.
        num_categories: number of choices of each variable, (D,).
        base: cost of the parts that every architecture has.
    """
    merged: dict[tuple[int, ...], FloatArray] = {}
    for variables, table in terms:
        axes = [axis for axis in range(len(variables)) if (np.ptp(table, axis=axis) != 0).any()]
        rest = tuple(0 if axis not in axes else slice(None) for axis in range(len(variables)))
        key = tuple(variables[axis] for axis in axes)
        merged[key] = merged.get(key, 0.0) + np.asarray(table[rest], dtype=np.float64)
    base += float(merged.pop((), 0.0))
    if all(len(variables) == 1 for variables in merged):
        rows = [merged.get((d,), np.zeros(count)) for d, count in enumerate(num_categories)]
        base += float(sum(row.min() for row in rows))
        return AdditiveCost.from_rows(name, [(row - row.min()).tolist() for row in rows], base)
    return FactoredCost(name=name, terms=merged, num_categories=num_categories, base=base)
