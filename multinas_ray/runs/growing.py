"""Columns that grow part by part without being in memory twice.

Joining millions of rows from thousands of pieces holds all of them and their copy, and leaves the pieces' holes in the
memory. So each column is one array from the start, of about the length that it will have: what is not used yet takes no
memory.

Notation: N rows, D variables.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from multinas_ray.runs.row_columns import ListRows, MatrixRows, Rows


class Growing:
    """An array that grows at its end.

    Args:
        dtype: type of its values.
        rows: about how many there will be.
        width: values of a row; None: a row is one value.
    """

    def __init__(self, dtype: Any, rows: int, width: int | None = None) -> None:
        self._shape = () if width is None else (width,)
        self._values, self._size = np.empty((rows, *self._shape), dtype=dtype), 0

    def add(self, values: npt.NDArray[Any]) -> None:
        """Add rows, after widening the type if they do not fit it."""
        if not np.can_cast(values.dtype, self._values.dtype):
            self._values = self._values.astype(np.promote_types(values.dtype, self._values.dtype))
        end = self._size + len(values)
        if end > len(self._values):
            self._values.resize((max(end, len(self._values) * 9 // 8), *self._shape), refcheck=False)
        self._values[self._size : end] = values
        self._size = end

    @property
    def values(self) -> npt.NDArray[Any]:
        """(N,) or (N, width) what was added."""
        return self._values[: self._size]


class Column:
    """A column of numbers, times or texts.

    Args:
        kind: type of its values.
        rows: about how many there will be.
    """

    def __init__(self, kind: pa.DataType, rows: int) -> None:
        self._kind = kind
        self._texts: list[pa.ChunkedArray] = []
        self._numbers: Growing | None = None
        if not pa.types.is_string(kind):
            self._numbers = Growing(np.int64 if pa.types.is_timestamp(kind) else kind.to_pandas_dtype(), rows)

    def add(self, part: pa.ChunkedArray) -> None:
        """Add the values of a part."""
        if self._numbers is None:
            self._texts.append(part)
            return
        values = part.cast(pa.int64()) if pa.types.is_timestamp(self._kind) else part
        self._numbers.add(values.to_numpy())

    @property
    def values(self) -> npt.NDArray[Any]:
        """(N,) the numbers; NaN where there is none."""
        assert self._numbers is not None
        return self._numbers.values

    def series(self) -> pd.Series:
        """The column as pandas has it."""
        if self._numbers is None:
            return pd.Series(pa.chunked_array(self._texts, type=self._kind).to_pandas())
        if pa.types.is_timestamp(self._kind):
            times = pd.DatetimeIndex(self.values.view(f"datetime64[{self._kind.unit}]"))
            return pd.Series(times.tz_localize(self._kind.tz))
        return pd.Series(self.values, copy=False)


class ArchitectureColumn:
    """A column of architectures, in the fewest bytes.

    Args:
        rows: about how many there will be.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._matrix: Growing | None = None
        self._width = 0
        self._lists: list[Any] = []

    def add(self, part: pa.ChunkedArray) -> None:
        """Add the architectures of a part."""
        column = part.combine_chunks()
        flat, width = column.flatten(), 0
        if len(column) and not flat.null_count and not self._lists:
            lengths = np.diff(column.offsets.to_numpy())
            width = int(lengths[0]) if (lengths == lengths[0]).all() else 0
        if width and self._matrix is None:
            self._matrix, self._width = Growing(np.int8, self._rows, width), width
        if self._matrix is not None and width == self._width:
            self._matrix.add(_smallest(flat.to_numpy().reshape(len(column), width)))
        elif len(column):
            self._lists = [*self.rows().values(np.arange(self._number)), *map(tuple, column.to_pylist())]
            self._matrix = None

    @property
    def _number(self) -> int:
        return len(self._lists) if self._matrix is None else len(self._matrix.values)

    def rows(self) -> Rows:
        """The architectures as tuples."""
        return ListRows(self._lists) if self._matrix is None else MatrixRows(self._matrix.values)


def _smallest(rows_ND: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The rows in one byte a number, where all fit."""
    is_small = rows_ND.min() >= np.iinfo(np.int8).min and rows_ND.max() <= np.iinfo(np.int8).max
    return rows_ND.astype(np.int8) if is_small else rows_ND
