"""Known results by configuration, in little memory."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import replace
from math import isfinite

from multinas_ray.tune.evaluation import Evaluation


class KnownResults:
    """One result for each configuration: the first that did not fail, or else the first.

    Args:
        columns: columns of the complexities that are kept.
        key_of: turns an architecture into what equal configurations have in common.
    """

    def __init__(self, columns: list[str], key_of: Callable[[tuple[int, ...]], bytes]) -> None:
        self._columns, self._key_of = columns, key_of
        self._place: dict[bytes, int] = {}
        self._numbers = array("q")
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, architecture: tuple[int, ...]) -> bool:
        return self._key_of(architecture) in self._place

    def add(self, evaluation: Evaluation) -> None:
        """Keep a result, unless its configuration has one that did not fail."""
        key = self._key_of(evaluation.architecture)
        values = array("d", [evaluation.loss, *(evaluation.raw(column) for column in self._columns)])
        place = self._place.setdefault(key, len(self))
        start = place * len(values)
        if place == len(self):
            self._numbers.append(evaluation.number)
            self._values.extend(values)
        elif not isfinite(self._values[start]):
            self._numbers[place] = evaluation.number
            self._values[start : start + len(values)] = values

    def repeat(self, draw: Evaluation) -> Evaluation:
        """The draw with the known result of its configuration."""
        place = self._place[self._key_of(draw.architecture)]
        width = 1 + len(self._columns)
        loss, *values = self._values[place * width : (place + 1) * width]
        costs = {name: None if value != value else value for name, value in zip(self._columns, values, strict=True)}
        return replace(draw, loss=loss, costs=costs, reused_id=self._numbers[place])
