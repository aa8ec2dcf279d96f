"""The variables of a space, and the categories of each whose probabilities are learned.

Notation: D variables, C categories (padded to the most), N samples.

An architecture has a value for each variable, a whole number from 0. A categorical variable has a category for each
value. An ordered variable has more values than categories; there a category is a cell, an interval of neighbouring
values, which are equally likely within it, for every distribution. Cells can be split (see `splitting`). A variable may
be active only where another one has a certain value; otherwise its value is INACTIVE. docs/METHOD.md, "Numbers as
cells" and "Conditional variables". [ours]
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from multinas_ray.core.arrays import BoolArray, FloatArray, IntArray, read_only
from multinas_ray.errors import ConfigError, StateError

INACTIVE = -1
"""Value and category of a variable that is not active."""

MOST_VALUES = 2**52
"""A variable has at most this many values, so that floating-point numbers hold each of them exactly."""

Condition: TypeAlias = tuple[int, int]
"""An earlier, categorical variable, and the value that it must have."""


@dataclass(frozen=True, eq=False)
class CategoryLayout:
    """Values and categories of D variables. Built by `from_num_categories` and `of`."""

    num_at_start: tuple[int, ...]
    """(D,) categories of each variable before any cell was split; 1 means the variable is fixed."""
    num_values: tuple[int, ...]
    """(D,) values of each variable."""
    weights_DC: FloatArray
    """Prior probabilities of the categories at the start, as multiples of 1 / C_d; 0 in the padding."""
    conditions: tuple[Condition | None, ...]
    """(D,) where each variable is active; None: everywhere."""
    starts_DC: IntArray
    """First value of each category; the number of values in the padding."""

    @classmethod
    def from_num_categories(cls, num_categories: Sequence[int]) -> "CategoryLayout":
        """Builds the layout of categorical variables with these numbers of categories (each at least 1)."""
        return cls.of(num_categories)

    @classmethod
    def of(
        cls,
        num_categories: Sequence[int],
        num_values: Sequence[int] | None = None,
        conditions: Sequence[Condition | None] | None = None,
        prior: Sequence[Sequence[float] | None] | None = None,
    ) -> "CategoryLayout":
        """Builds the layout at the start, where the cells of an ordered variable are as equal as can be.

        Args:
            num_categories: (D,) at least 1 each.
            num_values: (D,) at least as many each; None: as many.
            conditions: (D,); None: all variables are always active.
            prior: (D,) positive weights of each categorical variable's categories; None: all equal.
        """
        counts = tuple(int(count) for count in num_categories)
        values = counts if num_values is None else tuple(int(count) for count in num_values)
        starts_DC = np.repeat(np.array(values, dtype=np.int64)[:, None], max(counts), axis=1)
        weights_DC = np.zeros(starts_DC.shape)
        for d, (count, total) in enumerate(zip(counts, values, strict=True)):
            starts_DC[d, :count] = [category * total // count for category in range(count)]
            given = None if prior is None else prior[d]
            weights_DC[d, :count] = 1.0 if given is None else np.array(given) * (count / sum(given))
        return cls(
            num_at_start=counts,
            num_values=values,
            weights_DC=read_only(weights_DC, np.float64),
            conditions=(None,) * len(counts) if conditions is None else tuple(conditions),
            starts_DC=read_only(starts_DC, np.int64),
        )

    def with_starts(self, starts_DC: IntArray, path: str) -> "CategoryLayout":
        """Returns this layout with cells that later splits made, from a saved state.

        Raises:
            StateError: They are not the starts of cells of these variables; names the path.
        """
        later = replace(self, starts_DC=starts_DC)
        width = self.starts_DC.shape[1]
        for d, (row_C, num_values) in enumerate(zip(starts_DC, self.num_values, strict=True)):
            used_C = row_C[: later.num_categories[d]]
            is_same = d in self.ordered or (row_C[:width] == self.starts_DC[d]).all()
            is_rising = len(used_C) > 1 and used_C[0] == 0 and bool((np.diff(used_C) > 0).all())
            is_padded = bool((row_C[len(used_C) :] == num_values).all())
            if not (is_same and is_padded and (is_rising or d not in self.ordered)):
                raise StateError(f"{path}: expected the first values of each variable's cells, found {row_C} for {d}")
        return later

    @cached_property
    def num_categories(self) -> tuple[int, ...]:
        """C_d of each variable."""
        return tuple(self.valid_DC.sum(axis=1).tolist())

    @cached_property
    def valid_DC(self) -> BoolArray:
        """C < C_d."""
        return read_only(self.starts_DC < np.array(self.num_values)[:, None], np.bool_)

    @cached_property
    def inner_DC(self) -> BoolArray:
        """C < C_d - 1: every category but the last, which the others determine."""
        return read_only(np.arange(self.valid_DC.shape[1]) < self.last_D[:, None], np.bool_)

    @cached_property
    def free_D(self) -> BoolArray:
        """C_d > 1."""
        return read_only(self.last_D > 0, np.bool_)

    @cached_property
    def last_D(self) -> IntArray:
        """C_d - 1, the index of the last category."""
        return read_only(self.valid_DC.sum(axis=1) - 1, np.int64)

    @cached_property
    def ordered(self) -> tuple[int, ...]:
        """The variables that have more values than categories at the start."""
        counts = zip(self.num_at_start, self.num_values, strict=True)
        return tuple(d for d, (count, total) in enumerate(counts) if total > count)

    @cached_property
    def conditional(self) -> tuple[int, ...]:
        """The variables that are not always active."""
        return tuple(d for d, condition in enumerate(self.conditions) if condition is not None)

    @cached_property
    def sizes_DC(self) -> FloatArray:
        """Number of values in each category, 1 in the padding."""
        ends_DC = np.concatenate([self.starts_DC[:, 1:], np.array(self.num_values)[:, None]], axis=1)
        return read_only(np.maximum(ends_DC - self.starts_DC, 1), np.float64)

    @cached_property
    def spread_DC(self) -> FloatArray:
        """Number of values in a cell, as a multiple of that of an equal share at the start; 1 for other categories."""
        spread_DC = np.ones(self.sizes_DC.shape)
        for d in self.ordered:
            spread_DC[d] = self.sizes_DC[d] * self.num_at_start[d] / self.num_values[d]
        return read_only(spread_DC, np.float64)

    @cached_property
    def prior_DC(self) -> FloatArray:
        """Prior probabilities of the categories, as multiples of 1 / C_d at the start; 0 in the padding."""
        prior_DC = np.where(self.valid_DC, self.spread_DC, 0.0)
        categorical_D = [d for d in range(len(self.num_values)) if d not in self.ordered]
        prior_DC[categorical_D, : self.weights_DC.shape[1]] = self.weights_DC[categorical_D]
        return read_only(prior_DC, np.float64)

    @property
    def num_free_parameters(self) -> int:
        """sum_d (C_d - 1), n in the method's text: the dimension of one distribution."""
        return int(self.last_D.sum())

    def categories_of(self, architectures_ND: IntArray) -> IntArray:
        """Returns (N, D) the categories in which the values lie, INACTIVE where a variable is not active."""
        if not self.ordered:
            return architectures_ND
        categories_ND = architectures_ND.copy()
        for d in self.ordered:
            starts_C = self.starts_DC[d, : self.num_categories[d]]
            categories_ND[:, d] = starts_C.searchsorted(architectures_ND[:, d], side="right") - 1
        return categories_ND

    def outside(self, architectures_ND: IntArray) -> BoolArray:
        """Returns (N, D) whether a value is none of its variable's, where it is active, or not INACTIVE elsewhere."""
        outside_ND: BoolArray = (architectures_ND < 0) | (architectures_ND >= np.array(self.num_values))
        for d in self.conditional:
            active_N = self._is_active(architectures_ND, d)
            outside_ND[:, d] = np.where(active_N, outside_ND[:, d], architectures_ND[:, d] != INACTIVE)
        return outside_ND

    def without_inactive(self, architectures_ND: IntArray) -> IntArray:
        """Returns the architectures with INACTIVE in place of the values of variables that are not active."""
        if not self.conditional:
            return architectures_ND
        masked_ND = architectures_ND.copy()
        for d in self.conditional:  # a condition names an earlier variable
            masked_ND[~self._is_active(masked_ND, d), d] = INACTIVE
        return masked_ND

    def _is_active(self, architectures_ND: IntArray, variable: int) -> BoolArray:
        condition = self.conditions[variable]
        assert condition is not None
        parent, value = condition
        active_N: BoolArray = architectures_ND[:, parent] == value
        return active_N


def check_variables(
    num_categories: Sequence[int],
    num_values: Sequence[int] | None,
    conditions: Sequence[Condition | None] | None,
    prior: Sequence[Sequence[float] | None] | None,
) -> None:
    """Checks a description of variables; see `CategoryLayout.of`.

    Raises:
        ConfigError: Lengths differ, or a description breaks a rule; the message says which.
    """
    for name, given in (("num_values", num_values), ("conditions", conditions), ("prior", prior)):
        if given is not None and len(given) != len(num_categories):
            raise ConfigError(
                f"{name} must have {len(num_categories)} entries, one for each variable, got {len(given)}"
            )
    values = num_categories if num_values is None else num_values
    _check_cells(num_categories, values)
    _check_conditions(num_categories, values, conditions or ())
    _check_prior(num_categories, values, prior or ())


def _check_cells(num_categories: Sequence[int], num_values: Sequence[int]) -> None:
    """Checks that a variable has as many categories as values, or is a number with several cells."""
    for d, (count, total) in enumerate(zip(num_categories, num_values, strict=True)):
        if not (total == count or (count > 1 and count < total <= MOST_VALUES)):
            raise ConfigError(
                f"num_values[{d}] must be the number of categories, {count}, or, for at least 2 cells, more than that "
                f"and at most {MOST_VALUES}, got {total}"
            )


def _check_conditions(
    num_categories: Sequence[int], num_values: Sequence[int], conditions: Sequence[Condition | None]
) -> None:
    """Checks that a condition is a value of an earlier variable without cells."""
    for d, condition in enumerate(conditions):
        if condition is None:
            continue
        parent, value = condition
        if not (0 <= parent < d and num_values[parent] == num_categories[parent] and 0 <= value < num_values[parent]):
            raise ConfigError(
                f"conditions[{d}] must be an earlier categorical variable and one of its values, got {condition}"
            )


def _check_prior(
    num_categories: Sequence[int], num_values: Sequence[int], prior: Sequence[Sequence[float] | None]
) -> None:
    """Checks that a variable without cells has a positive weight for each category, where it has weights."""
    for d, weights in enumerate(prior):
        if weights is None:
            continue
        is_categorical = num_values[d] == num_categories[d]
        if not (is_categorical and len(weights) == num_values[d] and min(weights) > 0.0):
            raise ConfigError(
                f"prior[{d}] must be a positive weight for each of {num_categories[d]} categories, and None for a "
                f"variable with cells, got {weights}"
            )
