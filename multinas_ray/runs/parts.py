"""The parts of a table of a record, read one after the other into memory that holds only what is looked at often.

Notation: N rows, D variables.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from multinas_ray.runs.growing import ArchitectureColumn, Column
from multinas_ray.runs.row_columns import FileRows, RowArray, Rows
from multinas_ray.runs.tables import TUPLE_COLUMNS, read_part
from multinas_ray.storage import Location, list_files

LEFT_IN_FILES = ("architecture_readable", "mode_readable", "probs", "cells")
"""Columns that stay in their files until they are looked at; those of a large record are gigabytes."""
_READERS = 4
_AHEAD = 8
"""Parts that are read in advance, for object stores, whose every answer takes its time. [ours]"""


class PartsTable:
    """The rows of a table, part by part.

    Args:
        schema: Its columns.
        rows: About how many rows there will be.
        only: Columns of numbers that are kept, where no frame is made; None: all.
    """

    def __init__(self, schema: pa.Schema, rows: int, only: Collection[str] | None = None) -> None:
        self._schema = schema
        self._files: list[Location] = []
        self._counts: list[int] = []
        self._last: pa.Table | None = None
        self.num_rows = 0
        self._architectures = {
            name: ArchitectureColumn(rows) for name in schema.names if name in TUPLE_COLUMNS and only is None
        }
        made = {*TUPLE_COLUMNS, *LEFT_IN_FILES}
        kept = [field for field in schema if (field.name not in made if only is None else field.name in only)]
        self._columns = {field.name: Column(field.type, rows) for field in kept}

    def add(self, file: Location, part: pa.Table) -> None:
        """Add the rows of a file."""
        self._files.append(file)
        self._counts.append(part.num_rows)
        self._add(part)

    def add_last(self, rows: pa.Table) -> None:
        """Add rows that are in no file yet."""
        self._last = rows.replace_schema_metadata(None)
        self._add(rows)

    def values(self, name: str) -> npt.NDArray[Any]:
        """(N,) values of a column of numbers."""
        return self._columns[name].values

    def frame(self, order: Sequence[str] = ()) -> pd.DataFrame:
        """The rows as a frame, which shares the memory of this table.

        Args:
            order: Columns to sort by; one that begins with a minus sorts from large to small.
        """
        keys = [self.values(name) if name[0] != "-" else -self.values(name[1:]) for name in order]
        places = np.lexsort(keys[::-1]) if keys else np.arange(self.num_rows)
        is_sorted = bool((places == np.arange(len(places))).all())
        columns: dict[str, Any] = {}
        for name in self._schema.names:
            if name in self._columns:
                series = self._columns[name].series()
                columns[name] = series if is_sorted else series.take(places).reset_index(drop=True)
            else:
                columns[name] = RowArray(self._rows(name), places)
        return pd.DataFrame(columns, copy=False)

    def _add(self, part: pa.Table) -> None:
        self.num_rows += part.num_rows
        for name, column in (self._columns | self._architectures).items():
            column.add(part[name])

    def _rows(self, name: str) -> Rows:
        if name in self._architectures:
            return self._architectures[name].rows()
        last = self._schema.empty_table() if self._last is None else self._last
        return FileRows(name, self._files, self._counts, last[name])


def read_parts(
    folder: Location,
    schema: pa.Schema,
    remedy: str,
    look: Callable[[Location, pa.Table], None],
    only: Collection[str] | None = None,
) -> PartsTable:
    """Read the files of a table's folder in their order, a few in advance.

    Args:
        folder: The folder.
        schema: Columns and types of all files.
        remedy: Remedy that the message names if a file is damaged.
        look: Called with each file and its rows.
        only: As for `PartsTable`.

    Raises:
        StateError: A file is damaged, another table, or of another version.
    """
    files = deque(folder.join(name) for name in list_files(folder, ".parquet"))
    table, number = None, len(files)
    with ThreadPoolExecutor(_READERS) as pool:
        waiting: deque[tuple[Location, Future[pa.Table]]] = deque()
        try:
            while files or waiting:
                while files and len(waiting) < _AHEAD:
                    file = files.popleft()
                    waiting.append((file, pool.submit(read_part, file, lambda _: schema, remedy)))
                file, future = waiting.popleft()
                part = future.result()
                look(file, part)
                table = table or PartsTable(schema, number * part.num_rows, only)
                table.add(file, part)
        finally:
            for _, future in waiting:
                future.cancel()
    return table or PartsTable(schema, 0, only)
