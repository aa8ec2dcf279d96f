"""Columns of a record's frames whose values are made when they are looked at, since as objects they fill the memory.

A record of 2.3 million evaluations has as many architectures, and lists of probabilities in ten times the size of all
other columns. Architectures are kept as a matrix. Texts and lists stay in their files, which are read again.

Notation: N rows, D variables.
"""

from __future__ import annotations

import builtins
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray, ExtensionDtype, register_extension_dtype, take

from multinas_ray.spaces import IntArray
from multinas_ray.storage import Location, read_parquet

_KEPT_FILES = 2
"""Files whose column is kept after it was read, since rows are mostly looked at in their order."""
_AT_ONCE = 65536


@runtime_checkable
class Rows(Protocol):
    """Values by their places in a table."""

    def values(self, places: IntArray) -> list[Any]:
        """The values at places, in the order of these."""


@dataclass(frozen=True, eq=False)
class MatrixRows:
    """Architectures, as tuples."""

    matrix_ND: npt.NDArray[Any]

    def values(self, places: IntArray) -> list[Any]:
        """The architectures at places."""
        return list(map(tuple, self.matrix_ND[places].tolist()))


@dataclass(frozen=True, eq=False)
class ListRows:
    """Values that are there."""

    items: Sequence[Any]

    def values(self, places: IntArray) -> list[Any]:
        """The values at places."""
        return [self.items[place] for place in places.tolist()]


class FileRows:
    """Values of a column in the Parquet files of a table, and those of its last rows, which no file has yet.

    Args:
        column: Name of the column.
        files: The files.
        counts: Rows of each file that belong to the table; a file that grows keeps them at its beginning.
        rest: The last rows.
    """

    def __init__(self, column: str, files: Sequence[Location], counts: Sequence[int], rest: pa.ChunkedArray) -> None:
        self._column, self._files, self._rest = column, files, rest
        self._starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)
        self._read = functools.lru_cache(_KEPT_FILES)(self._read_file)

    def __getstate__(self) -> tuple[Any, ...]:
        return self._column, self._files, np.diff(self._starts).tolist(), self._rest

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]  # a cache cannot be pickled

    def values(self, places: IntArray) -> list[Any]:
        """The values at places; raises StateError if a file is gone or damaged since."""
        of_file = np.searchsorted(self._starts, places, side="right") - 1
        values = np.empty(len(places), dtype=object)
        for number in np.unique(of_file).tolist():
            there = np.flatnonzero(of_file == number)
            chunk = self._read(number).take(pa.array(places[there] - self._starts[number]))
            found = chunk.to_pandas().to_numpy(dtype=object)
            for place, value in zip(there.tolist(), found, strict=True):
                values[place] = value
        return list(values)

    def _read_file(self, number: int) -> pa.ChunkedArray:
        if number == len(self._files):
            return self._rest
        return read_parquet(self._files[number], [self._column])[self._column]


@register_extension_dtype
class RowDtype(ExtensionDtype):
    """The type of a `RowArray`; its values are objects."""

    name = "row"
    type = object
    kind = "O"
    na_value = None

    @classmethod
    def construct_array_type(cls) -> builtins.type[RowArray]:
        """The class of its arrays."""
        return RowArray


class RowArray(ExtensionArray):
    """A column whose values are made when they are looked at; parts of it are made without looking.

    Args:
        rows: Makes the values.
        places: (N,) place of each value among the rows; -1 for none.
    """

    def __init__(self, rows: Rows, places: IntArray) -> None:
        self._rows, self._places = rows, places

    @classmethod
    def of(cls, rows: Rows, number: int) -> RowArray:
        """All of a number of rows."""
        return cls(rows, np.arange(number))

    @property
    def matrix_ND(self) -> npt.NDArray[Any] | None:
        """(N, D) architectures without tuples; None where the values are something else, or some are missing."""
        if isinstance(self._rows, MatrixRows) and not self.isna().any():
            matrix_ND: npt.NDArray[Any] = self._rows.matrix_ND[self._places]
            return matrix_ND
        return None

    @property
    def dtype(self) -> ExtensionDtype:
        """Its type."""
        return RowDtype()

    @property
    def nbytes(self) -> int:
        """Bytes of the places."""
        return self._places.nbytes

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), _AT_ONCE):
            yield from self._values(self._places[start : start + _AT_ONCE])

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, (int, np.integer)):
            return self._values(self._places[[int(item)]])[0]
        return RowArray(self._rows, self._places[pd.api.indexers.check_array_indexer(self, item)])

    def __setitem__(self, key: Any, value: Any) -> None:
        places = np.atleast_1d(np.arange(len(self))[key]).tolist()
        is_column = isinstance(value, (RowArray, pd.Series, np.ndarray, list))
        values = list(self)
        for place, each in zip(places, value if is_column else [value] * len(places), strict=True):
            values[place] = each
        self._rows, self._places = ListRows(values), np.arange(len(values))

    def __eq__(self, other: object) -> Any:
        if isinstance(other, (pd.Series, pd.DataFrame, pd.Index)):
            return NotImplemented
        others = other if isinstance(other, (RowArray, np.ndarray, list)) else [other] * len(self)
        return np.array([_are_equal(mine, theirs) for mine, theirs in zip(self, others, strict=True)], dtype=bool)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self.to_numpy(dtype)

    def __arrow_array__(self, type: pa.DataType | None = None) -> pa.Array:  # pyarrow gives it this name
        return pa.array(list(self), type=type)

    def to_numpy(self, dtype: Any = None, copy: bool = False, na_value: Any = None) -> npt.NDArray[Any]:
        """(N,) objects."""
        values = np.empty(len(self), dtype=object)
        for place, value in enumerate(self):
            values[place] = value
        return values

    def isna(self) -> npt.NDArray[np.bool_]:
        """(N,) whether there is no value."""
        return self._places < 0

    def copy(self) -> RowArray:
        """The same column."""
        return RowArray(self._rows, self._places.copy())

    def take(self, indices: Any, *, allow_fill: bool = False, fill_value: Any = None) -> RowArray:
        """The values at places of the column; see pandas."""
        return RowArray(self._rows, np.asarray(take(self._places, indices, allow_fill=allow_fill, fill_value=-1)))

    def _values(self, places: IntArray) -> list[Any]:
        values: list[Any] = [None] * len(places)
        there = np.flatnonzero(places >= 0)
        for place, value in zip(there.tolist(), self._rows.values(places[there]), strict=True):
            values[place] = value
        return values

    def _cast_pointwise_result(self, values: Any) -> Any:
        return pd.Series(list(values), dtype=object).infer_objects().array  # what a function of the values gave

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> RowArray:
        return cls.of(ListRows(list(scalars)), len(scalars))

    @classmethod
    def _from_factorized(cls, values: Any, original: Any) -> RowArray:
        return cls._from_sequence(values)

    def _values_for_factorize(self) -> tuple[npt.NDArray[Any], Any]:
        return self.to_numpy(), None

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[RowArray]) -> RowArray:
        first = to_concat[0]._rows
        if all(each._rows is first for each in to_concat):
            return cls(first, np.concatenate([each._places for each in to_concat]))
        return cls._from_sequence([value for each in to_concat for value in each])


def _are_equal(mine: Any, theirs: Any) -> bool:
    """Whether two values are equal, which may be arrays, and arrays of arrays."""
    if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray) and object in (mine.dtype, theirs.dtype):
        return len(mine) == len(theirs) and all(map(_are_equal, mine, theirs))
    if isinstance(mine, np.ndarray) or isinstance(theirs, np.ndarray):
        return np.array_equal(mine, theirs)
    return bool(mine == theirs)


def architectures_of(column: pd.Series) -> IntArray:
    """(N, D) the architectures of a column; (0, 0) where it is empty and not that of a record."""
    if isinstance(column.array, RowArray) and (matrix_ND := column.array.matrix_ND) is not None:
        return matrix_ND.astype(np.int64)
    rows: IntArray = np.array(column.tolist(), dtype=np.int64)
    return rows.reshape(len(column), -1) if len(column) else rows.reshape(0, 0)
