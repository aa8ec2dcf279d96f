"""The kinds of variables of a configuration: choices, and numbers that are drawn from a range.

Every kind has `num_categories` and `num_values` for the core's layout, and turns whole numbers from 0 into values.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from statistics import NormalDist
from typing import Any, Literal, TypeAlias

from multinas_ray.errors import ConfigError
from multinas_ray.spaces import Variable

START_CELLS = 4
"""Cells of a number before any is split. On a quadratic of five numbers 4 led to better answers than 8 or 16
(experiments/benchmark_cells.py). [ours]"""

STEPS = 2**52
"""Equally likely steps of a number that is not uniform over whole numbers: more than a float tells apart. [ours]"""

DIGITS = 12
"""Significant digits of such a number, so that a number that a user gives comes back as it was given. [ours]"""

Scale: TypeAlias = Literal["uniform", "log", "normal"]


@dataclass(frozen=True)
class Choice:
    """One of a list of values.

    Raises:
        ConfigError: There are no values, or two are equal.
    """

    name: str
    choices: tuple[Any, ...]
    weights: tuple[float, ...] | None = None
    """Prior weights of the values; None: all equal."""

    def __post_init__(self) -> None:
        Variable(self.name, self.choices)  # checks

    @property
    def num_categories(self) -> int:
        """Number of values."""
        return len(self.choices)

    @property
    def num_values(self) -> int:
        """Number of values."""
        return len(self.choices)

    def value(self, place: int) -> Any:
        """The value with this number."""
        return self.choices[place]

    def place(self, value: Any) -> int:
        """The number of a value.

        Raises:
            ConfigError: It is none of the values.
        """
        for index, choice in enumerate(self.choices):
            is_close = isinstance(choice, float) and isinstance(value, (int, float)) and math.isclose(choice, value)
            if is_close or choice == value:
                return index
        raise ConfigError(f"{value!r} is not a choice of the variable {self.name!r}: use one of {list(self.choices)}")

    def nearest(self, value: Any) -> int:
        """As `place`, where a number between two of the choices counts as the nearest.

        Raises:
            ConfigError: It is neither a choice nor between two of them.
        """
        try:
            return self.place(value)
        except ConfigError:
            if not (_is_number(value) and all(map(_is_number, self.choices))):
                raise
            if not min(self.choices) <= value <= max(self.choices):
                raise
        return min(range(len(self.choices)), key=lambda index: abs(self.choices[index] - value))


@dataclass(frozen=True)
class Number:
    """A number, as a function of a uniform one: just as Ray draws it.

    The prior is uniform over the steps, each of which is a whole number of a uniform range, or one of STEPS parts of
    equal probability of any other range.
    """

    name: str
    scale: Scale
    low: float
    """Lower bound; the mean of a normal number."""
    high: float
    """Upper bound, exclusive for whole numbers; the standard deviation of a normal number."""
    quantum: float | None = None
    """The value is a multiple of it: of a whole number, or rounded."""
    is_whole: bool = False
    """Whether `low` and `high` are whole, and so is the number (in units of `quantum`)."""

    @property
    def is_exact(self) -> bool:
        """Whether different steps are different values."""
        return self.is_whole and self.scale == "uniform"

    @property
    def num_categories(self) -> int:
        """Cells at the start."""
        return START_CELLS

    @property
    def num_values(self) -> int:
        """Number of steps."""
        return int(self.high - self.low) if self.is_whole and self.scale == "uniform" else STEPS

    @property
    def weights(self) -> None:
        """Steps are equally likely."""
        return

    def value(self, place: int) -> int | float:
        """The number at a step."""
        if self.is_whole:
            count = int(self.low) + place if self.scale == "uniform" else math.floor(self._at(place))
            return int(min(count, int(self.high) - 1) * (1 if self.quantum is None else self.quantum))
        if self.quantum is None:
            number = float(f"{self._at(place):.{DIGITS}g}")
            return number if self.scale == "normal" else min(max(number, self.low), self.high)
        return float(round(self._at(place) / self.quantum)) * self.quantum

    def place(self, value: Any) -> int:
        """A step of a number; of several the one in the middle.

        Raises:
            ConfigError: It is not a number of the range.
        """
        place = self.nearest(value)
        if not math.isclose(self.value(place), float(value), rel_tol=1e-9, abs_tol=1e-9 * self._width()):
            raise ConfigError(f"{value!r} is not a value of the variable {self.name!r}: {self._rule()}")
        return place

    def nearest(self, value: Any) -> int:
        """As `place`, where a number between two of the range counts as the nearest.

        Raises:
            ConfigError: It is not a number between the bounds.
        """
        if not _is_number(value) or not math.isfinite(value):
            raise ConfigError(f"{value!r} is no number for the variable {self.name!r}: {self._rule()}")
        number = float(value) / ((self.quantum or 1) if self.is_whole else 1)
        if self.scale != "normal" and not self._is_within(number):
            raise ConfigError(f"{value!r} is not a value of the variable {self.name!r}: {self._rule()}")
        if self.is_whole and self.scale == "uniform":
            place = round(number) - int(self.low)
        else:
            place = int(self.share(number + (0.5 if self.is_whole else 0.0)) * STEPS)
        return min(max(place, 0), self.num_values - 1)

    def _at(self, place: int) -> float:
        """The number without rounding, from the step as a share of the probability."""
        share = place / STEPS
        if self.scale == "uniform":
            return self.low + share * (self.high - self.low)
        if self.scale == "log":
            return self.low * math.exp(share * math.log(self.high / self.low))
        return NormalDist(self.low, self.high).inv_cdf((place + 0.5) / STEPS)

    def share(self, value: float) -> float:
        """The prior probability of all smaller numbers."""
        if self.scale == "uniform":
            return (value - self.low) / (self.high - self.low)
        if self.scale == "log":
            return math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return NormalDist(self.low, self.high).cdf(value)

    def _is_within(self, number: float) -> bool:
        """Whether a number, in units of a whole number's quantum, lies between the bounds or is rounded to one."""
        slack = 1e-9 * self._width() + (0.5 * self.quantum if self.quantum and not self.is_whole else 0.0)
        return self.low - slack <= number <= self.high - (1 if self.is_whole else 0) + slack

    def _width(self) -> float:
        return self.high if self.scale == "normal" else self.high - self.low

    def _rule(self) -> str:
        unit = 1 if self.quantum is None else self.quantum
        multiples = "" if self.quantum is None else f" that is a multiple of {self.quantum}"
        if self.scale == "normal":
            return f"use a number{multiples} within 8 standard deviations of {self.low}"
        last = (self.high - 1) * unit if self.is_whole else self.high
        return f"use {'a whole' if self.is_whole else 'a'} number{multiples} from {self.low * unit} to {last}"


ConfigVariable: TypeAlias = Choice | Number


def holds(variable: ConfigVariable, value: Any) -> bool:
    """Whether it is one of the variable's values."""
    return _succeeds(variable.place, value)


def is_near(variable: ConfigVariable, value: Any) -> bool:
    """Whether it is one of the variable's values or lies between two."""
    return _succeeds(variable.nearest, value)


def _succeeds(place: Callable[[Any], int], value: Any) -> bool:
    try:
        place(value)
    except ConfigError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def label(variable: ConfigVariable, place: int) -> str:
    """A value as text, for tables and records; "-" for a variable that is not active."""
    if place < 0:
        return "-"
    value = variable.value(place)
    return f"{value:.6g}" if isinstance(variable, Number) and isinstance(value, float) else str(value)


def without_repeats(values: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[float, ...] | None]:
    """The different values and how often each occurs; None if each occurs once. True and 1 are different."""
    distinct: list[Any] = []
    counts: list[float] = []
    for value in values:
        same = [i for i, other in enumerate(distinct) if type(other) is type(value) and other == value]
        if same:
            counts[same[0]] += 1.0
        else:
            distinct.append(value)
            counts.append(1.0)
    return tuple(distinct), None if len(distinct) == len(values) else tuple(counts)
