"""Architectures drawn from the mixture, with the density each was drawn with, and the results of their evaluation.

Notation: D variables, N samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from multinas_ray.core.arrays import BoolArray, FloatArray, IntArray, read_only
from multinas_ray.core.reader import MOST_NUMBER
from multinas_ray.errors import ConfigError

ArrayT = TypeVar("ArrayT", bound=npt.NDArray[Any])
KindT = TypeVar("KindT")
Rows: TypeAlias = int | np.integer | slice | Sequence[int] | IntArray | BoolArray


@dataclass(frozen=True, eq=False, kw_only=True)
class Proposals:
    """N architectures to evaluate. Arrays are copied in, checked, and read-only.

    What is recorded at the draw never changes (docs/METHOD.md step 1). So results may come back at any time, in any
    order and in any portions, and still get the right weight.

    Raises:
        ConfigError: An array has the wrong shape, holds something other than whole numbers (log_q: finite
            numbers), or an id is negative.
    """

    architectures: IntArray
    """(N, D) category of each variable."""
    log_q: FloatArray
    """(N,) log density of the mixture at the draw, in nats."""
    sources: IntArray
    """(N,) which of the K distributions each was drawn from; -1 for none. It is recorded only; no update uses it."""
    ids: IntArray
    """(N,) number of each proposal, never given twice."""
    drawn_at: IntArray
    """(N,) number of updates done when it was drawn; -1 for a sample that was drawn from another density than the
    optimiser's mixture."""

    def __post_init__(self) -> None:
        architectures = _whole_numbers(self.architectures, "architectures")
        if architectures.ndim != 2:
            raise ConfigError(f"architectures must have shape (N, D), got {architectures.shape}; one row per sample")
        object.__setattr__(self, "architectures", architectures)
        for name in ("sources", "ids", "drawn_at"):
            column = _whole_numbers(getattr(self, name), name)
            object.__setattr__(self, name, column_of(column, name, len(architectures)))
        log_q = column_of(real_numbers(self.log_q, "log_q"), "log_q", len(architectures))
        object.__setattr__(self, "log_q", log_q)
        if not np.isfinite(log_q).all() or (log_q > 1e-9).any():
            raise ConfigError(
                "log_q must be finite and at most 0 (the log of a probability): give it as `ask` returned it"
            )
        for name, least in (("sources", -1), ("ids", 0), ("drawn_at", -1)):
            column = getattr(self, name)
            if (column < least).any() or (column >= MOST_NUMBER).any():
                wrong = column[(column < least) | (column >= MOST_NUMBER)][0]
                raise ConfigError(
                    f"{name} must be from {least} and below 2**62, got {int(wrong)}: give them as `ask` returned them"
                )

    def __len__(self) -> int:
        return len(self.architectures)

    def __getitem__(self, rows: Rows) -> "Proposals":
        """Returns the chosen rows (an int gives one row); IndexError past the end."""
        index = row_index(rows, len(self))
        return _of_checked(Proposals, {name: column[index] for name, column in vars(self).items()})

    def with_ids(self, ids: IntArray) -> "Proposals":
        """Returns the same proposals under other (N,) ids from 0."""
        return _of_checked(Proposals, {**vars(self), "ids": column_of(ids.copy(), "ids", len(self))})

    @staticmethod
    def concatenate(parts: Sequence["Proposals"]) -> "Proposals":
        """Joins proposals of the same D, in order; `parts` must not be empty."""
        if not parts:
            raise ConfigError("Proposals.concatenate must get at least one part, got none")
        if len({part.architectures.shape[1] for part in parts}) > 1:
            raise ConfigError("parts of Proposals.concatenate must have the same number of variables")
        parts = [part for part in parts if len(part)] or parts[:1]
        if len(parts) == 1:
            return parts[0]
        names, columns = vars(parts[0]), [vars(part) for part in parts]
        return _of_checked(Proposals, {name: np.concatenate([each[name] for each in columns]) for name in names})

    @staticmethod
    def empty(num_variables: int) -> "Proposals":
        """Returns no proposals of D = `num_variables`."""
        none = np.zeros(0, dtype=np.int64)
        return Proposals(
            architectures=none.reshape(0, num_variables),
            log_q=np.zeros(0),
            sources=none,
            ids=none,
            drawn_at=none,
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Evaluations:
    """Proposals with the results of their evaluation, row by row; read-only copies."""

    proposals: Proposals
    losses: FloatArray
    """(N,) minimised; NaN or infinite where the evaluation failed."""
    complexities: FloatArray
    """(N,) normalised; anything where the evaluation failed."""

    def __post_init__(self) -> None:
        for name in ("losses", "complexities"):
            column = real_numbers(getattr(self, name), name)
            object.__setattr__(self, name, column_of(column, name, len(self.proposals)))

    def __len__(self) -> int:
        return len(self.proposals)

    def __getitem__(self, rows: Rows) -> "Evaluations":
        index = row_index(rows, len(self))
        columns = {"losses": self.losses[index], "complexities": self.complexities[index]}
        return _of_checked(Evaluations, {"proposals": self.proposals[index], **columns})

    @staticmethod
    def concatenate(parts: Sequence["Evaluations"]) -> "Evaluations":
        """Joins evaluations, in order; `parts` must not be empty."""
        columns = {name: np.concatenate([vars(part)[name] for part in parts]) for name in ("losses", "complexities")}
        return _of_checked(
            Evaluations, {"proposals": Proposals.concatenate([part.proposals for part in parts]), **columns}
        )

    @staticmethod
    def empty(num_variables: int) -> "Evaluations":
        """Returns no evaluations of D = `num_variables`."""
        return Evaluations(proposals=Proposals.empty(num_variables), losses=np.zeros(0), complexities=np.zeros(0))


def _of_checked(kind: type[KindT], columns: dict[str, Any]) -> KindT:
    """Makes a `kind` from new arrays whose rows come from checked ones, without checking them again."""
    made = object.__new__(kind)
    for column in columns.values():
        if isinstance(column, np.ndarray):
            column.setflags(write=False)
    vars(made).update(columns)
    return made


def row_index(rows: Rows, num_rows: int) -> IntArray | slice:
    """Turns an int, a mask or an index array into an array of row numbers; a slice stays one, which costs less."""
    if isinstance(rows, slice):
        return rows
    if isinstance(rows, Sequence) and len(rows) == 0:
        return np.zeros(0, dtype=np.int64)
    return np.atleast_1d(np.arange(num_rows)[rows])


def real_numbers(values: npt.ArrayLike, name: str) -> FloatArray:
    """Returns a read-only float64 copy of numbers.

    Raises:
        ConfigError: They are not real numbers.
    """
    array = _as_array(values, name)
    if array.size and array.dtype.kind not in "iuf":
        raise ConfigError(f"{name} must be real numbers, got dtype {array.dtype}")
    return read_only(array, np.float64)


def column_of(array: ArrayT, name: str, num_rows: int) -> ArrayT:
    """Returns `array` if its shape is (num_rows,).

    Raises:
        ConfigError: It is not.
    """
    if array.shape != (num_rows,):
        raise ConfigError(f"{name} must have shape ({num_rows},), one per row, got {array.shape}")
    return array


def _whole_numbers(values: npt.ArrayLike, name: str) -> IntArray:
    array = _as_array(values, name)
    if array.size and array.dtype.kind not in "iu":
        raise ConfigError(f"{name} must be whole numbers, got dtype {array.dtype}")
    return read_only(array, np.int64)


def _as_array(values: npt.ArrayLike, name: str) -> npt.NDArray[np.generic]:
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ConfigError(f"{name} must be an array of numbers, rows of equal length: {error}") from error
