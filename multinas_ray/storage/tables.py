"""Tables that grow while a search runs and survive its death at any moment."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.storage import files as storage

Columns = Mapping[str, Any]
"""One table's new rows: column name -> one value per row."""

_PART = re.compile(r"part-(\d{5,})\.parquet")
_MOST_BATCHES = 32  # joined beyond this, since a file's write time grows with the number of pieces


class TableWriter:
    """Appends rows to a folder of Parquet files `part-00000.parquet`, `part-00001.parquet`, ...

    One part is open: it is rewritten whole and atomically for each append, and sealed when it holds
    `rows_per_part` rows. So an append costs at most one part, is on disk as a whole or not at all, and no row
    is ever in two parts. A new writer on a folder leaves what is there and goes on with the next part.

    While a writer is at work, read the open part in one piece as `load_run` does: a reader that opens a file
    twice (pandas does) may meet two versions of it. Sealed parts never change.

    Only one writer may be at work in a folder; a second one that is still alive is refused at its next part.
    Not thread-safe.

    Args:
        directory: The folder, created if needed.
        schema: Columns and types, see `multinas_ray.runs.schema`.
        metadata: Text kept in each file beside the schema's own metadata.
        rows_per_part: Rows at which a part is sealed.

    Raises:
        ConfigError: `rows_per_part` is below 1, or the folder cannot be opened.
    """

    def __init__(
        self,
        directory: storage.AnyPath,
        schema: pa.Schema,
        metadata: Mapping[str, str],
        rows_per_part: int = 4096,
    ) -> None:
        if rows_per_part < 1:
            raise ConfigError(f"rows_per_part must be at least 1, not {rows_per_part}")
        self._folder = storage.resolve(directory)
        self._schema = schema.with_metadata({**(schema.metadata or {}), **metadata})
        self._rows_per_part = rows_per_part
        storage.make_folder(self._folder)
        names = storage.list_files(self._folder, ".parquet")
        numbers = [int(match[1]) for match in map(_PART.fullmatch, names) if match]
        self._part = max(numbers, default=-1) + 1
        self._written: list[pa.RecordBatch] = []
        self._buffered: list[pa.RecordBatch] = []

    def append(self, columns: Columns) -> None:
        """Write rows (and whatever is buffered before them); durable on return.

        Args:
            columns: Column name -> one value per row, for each column of the schema; (n, D) arrays too.

        Raises:
            ConfigError: Columns are missing, unknown, of different lengths, or do not fit their types.
            StateError: Another writer is at work in the folder.
            OSError: The file system refused. None of these rows is kept then, so the call can be repeated.
        """
        batch = self._to_batch(columns)
        self._write([*self._buffered, batch])

    def buffer(self, columns: Columns) -> None:
        """Keep rows in memory until the next `flush` or `append`; arguments and errors as in `append`."""
        self._buffered.append(self._to_batch(columns))

    def flush(self) -> None:
        """Write the buffered rows; durable on return. On an error they stay buffered."""
        if self._buffered:
            self._write(self._buffered)

    @property
    def column_names(self) -> list[str]:
        """Columns of the table."""
        return list(self._schema.names)

    @property
    def num_buffered_rows(self) -> int:
        """Rows that a kill would lose."""
        return sum(batch.num_rows for batch in self._buffered)

    def _write(self, new: list[pa.RecordBatch]) -> None:
        batches = _joined([*self._written, *new])
        table = pa.Table.from_batches(batches, self._schema)
        is_full = table.num_rows >= self._rows_per_part
        file = self._folder.join(f"part-{self._part:05d}.parquet")
        try:
            storage.write_atomic(file, _to_parquet(table, sealed=is_full), overwrite=bool(self._written))
        except FileExistsError as error:
            raise StateError(
                f"{file} appeared while this writer was at work: another process writes into the same run; "
                "stop one of them, or give each its own storage_path"
            ) from error
        self._buffered = []
        self._written = [] if is_full else batches
        self._part += is_full

    def _to_batch(self, columns: Columns) -> pa.RecordBatch:
        names = set(self._schema.names)
        if set(columns) != names:
            missing, unknown = sorted(names - set(columns)), sorted(set(columns) - names)
            raise ConfigError(f"columns do not match the table: missing {missing}, unknown {unknown}")
        arrays = [_to_array(columns[field.name], field) for field in self._schema]
        lengths = {field.name: len(array) for field, array in zip(self._schema, arrays, strict=True)}
        if len(set(lengths.values())) > 1:
            raise ConfigError(f"columns have different lengths: {lengths}")
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def write_table(file: storage.AnyPath, schema: pa.Schema, metadata: Mapping[str, str], columns: Columns) -> None:
    """Write a whole table as one Parquet file, atomically; arguments and errors as for `TableWriter`."""
    full = schema.with_metadata({**(schema.metadata or {}), **metadata})
    if set(columns) != set(full.names):
        raise ConfigError(f"columns must be {full.names}, not {sorted(columns)}")
    arrays = [_to_array(columns[field.name], field) for field in full]
    storage.write_atomic(file, _to_parquet(pa.Table.from_arrays(arrays, schema=full), sealed=True))


def _joined(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    if len(batches) <= _MOST_BATCHES:
        return batches
    joined: list[pa.RecordBatch] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return joined


def _to_parquet(table: pa.Table, *, sealed: bool) -> pa.Buffer:
    """Encode a part: quickly while it is open, tightly once it is sealed."""
    sink = pa.BufferOutputStream()
    if sealed:
        pq.write_table(table, sink, compression="zstd")
    else:
        pq.write_table(table, sink, compression="snappy", use_dictionary=False, write_statistics=False)
    return sink.getvalue()


def _to_array(values: Any, field: pa.Field) -> pa.Array:
    try:
        if pa.types.is_list(field.type) and isinstance(values, np.ndarray) and values.ndim == 2:
            offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
            flat = pa.array(values.reshape(-1)).cast(field.type.value_type)
            array = pa.ListArray.from_arrays(offsets, flat)
        elif isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype != object:
            array = pa.array(values).cast(field.type)  # cast refuses what would change a value
        else:
            array = pa.array(values, type=field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"column {field.name!r} does not hold {field.type}: {error}") from error
    if array.null_count and not field.nullable:
        raise ConfigError(f"column {field.name!r} has {array.null_count} empty values and allows none")
    return array
