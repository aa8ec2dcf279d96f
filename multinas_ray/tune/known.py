"""Results that are known already, in little memory."""

from __future__ import annotations

from array import array
from dataclasses import replace

from multinas_ray.tune.trial_record import Evaluation


class KnownResults:
    """The first result of each architecture, by architecture.

    Args:
        columns: complexities that are kept.
    """

    def __init__(self, columns: list[str]) -> None:
        self._columns = columns
        self._place: dict[bytes, int] = {}
        self._numbers = array("q")
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._numbers)

    def __contains__(self, architecture: tuple[int, ...]) -> bool:
        return bytes(architecture) in self._place

    def add(self, evaluation: Evaluation) -> None:
        """Keep a result, unless its architecture has one."""
        key = bytes(evaluation.architecture)  # at most 64 choices a variable
        if key not in self._place:
            self._place[key] = len(self)
            self._numbers.append(evaluation.number)
            self._values.extend([evaluation.loss, *(evaluation.raw(column) for column in self._columns)])

    def repeat(self, draw: Evaluation) -> Evaluation:
        """The draw with the result that its architecture has."""
        place = self._place[bytes(draw.architecture)]
        width = 1 + len(self._columns)
        loss, *values = self._values[place * width : (place + 1) * width]
        costs = {name: None if value != value else value for name, value in zip(self._columns, values, strict=True)}
        return replace(draw, loss=loss, costs=costs, reused_id=self._numbers[place])
