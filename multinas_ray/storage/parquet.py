"""Parquet files, written whole or not at all, on local disks and in object stores."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from multinas_ray.errors import ConfigError, StateError, UnreadableError, first_line
from multinas_ray.settings import checked_arguments
from multinas_ray.storage.files import open_atomic, read_bytes, write_atomic
from multinas_ray.storage.places import AnyPath, resolve
from multinas_ray.storage.system_errors import translated_errors

Columns = Mapping[str, Any]
"""Rows of a table: column name -> one value per row."""

VERSION_KEY, TABLE_KEY = b"multinas_ray.schema_version", b"multinas_ray.table"
"""Keys of a file's metadata: the version of its form, and what it is."""

RESTORE = "restore a copy of it"

_READ_ATTEMPTS = 3
_DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)
"""What pyarrow raises when a file is damaged."""


def read_parquet(path: AnyPath, columns: list[str] | None = None, *, remedy: str = RESTORE) -> pa.Table:
    """Read a whole file, even while its writer replaces it.

    All bytes are read once and then decoded. A reader that opens the file twice may meet two versions of it. An object
    store may serve even one read in ranges, so a file that cannot be decoded is read again. The checksums of the pages
    and the numbers of rows are checked, so that a damaged file is never read as other values.

    Args:
        path: The file.
        columns: Those to read; None for all.
        remedy: What the message recommends if the file is damaged.

    Raises:
        UnreadableError: It is missing or cannot be read.
        StateError: It is not a Parquet file, or it is damaged.
    """
    for attempt in range(_READ_ATTEMPTS):
        content = read_bytes(path)
        try:
            return _checked_table(pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True), columns)
        except _DAMAGE as error:
            if attempt == _READ_ATTEMPTS - 1:
                raise _damaged(path, error, remedy) from error
    raise AssertionError("unreachable")


def count_rows(path: AnyPath) -> int:
    """How many rows a file says that it has; only its end is read. Raises as `read_parquet`."""
    place = resolve(path)
    with translated_errors(place, "read", UnreadableError):
        file_system, inner = place.open()
        file = file_system.open_input_file(inner)
    with file:
        try:
            return int(pq.read_metadata(file).num_rows)
        except _DAMAGE as error:
            raise _damaged(path, error) from error


def write_parquet(path: AnyPath, table: pa.Table) -> None:
    """Write a table as one file, atomically; its folder exists. Raises as `write_atomic`."""
    write_atomic(path, encode_parquet(table))


def encode_parquet(table: pa.Table, *, quickly: bool = False) -> pa.Buffer:
    """Encode a table as the content of a Parquet file: as few bytes as possible, or quickly."""
    sink = pa.BufferOutputStream()
    if quickly:
        options: dict[str, Any] = {"compression": "snappy", "use_dictionary": False, "write_statistics": False}
    else:
        options = {"compression": "zstd"}
    pq.write_table(table, sink, write_page_checksum=True, **options)
    return sink.getvalue()


class RowGroupReader:
    """Reads a large file, which no longer changes, one row group at a time.

    Args:
        path: The file.

    Raises:
        UnreadableError: It is missing or cannot be read.
        StateError: It is not a Parquet file, or it is damaged.
    """

    @checked_arguments
    def __init__(self, path: AnyPath) -> None:
        self._place = resolve(path)
        with translated_errors(self._place, "read", UnreadableError):
            file_system, inner = self._place.open()
            file = file_system.open_input_file(inner)
        try:
            self._file = pq.ParquetFile(file, pre_buffer=True)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, error) from error

    def read(self, row_group: int, columns: list[str]) -> pa.Table:
        """Read columns of a row group.

        Raises:
            UnreadableError: It cannot be read.
        """
        with translated_errors(self._place, "read", UnreadableError):
            return self._file.read_row_group(row_group, columns=columns)

    def close(self) -> None:
        """Close the file."""
        self._file.close(force=True)


@contextmanager
def write_row_groups(path: AnyPath, schema: pa.Schema) -> Iterator[pq.ParquetWriter]:
    """Write a large file row group by row group, uncompressed; it appears when the context ends without an error.

    Yields:
        The writer; each call of its `write_table` adds a row group.

    Raises:
        StorageError: The file system refused.
    """
    with (
        open_atomic(path) as stream,
        pq.ParquetWriter(stream, schema, compression="none", use_dictionary=False, write_statistics=False) as writer,
    ):
        yield writer


def make_table(schema: pa.Schema, columns: Columns, metadata: Mapping[str, str] | None = None) -> pa.Table:
    """Make a table with a given schema; a value that does not fit its column's type is refused, never changed.

    Args:
        schema: Columns and types.
        columns: Column name -> one value per row, for each column of the schema; (n, D) arrays too.
        metadata: Text that is kept in the file beside the schema's own metadata.

    Raises:
        ConfigError: Columns are missing, unknown, of different lengths, or do not fit their types.
    """
    full = schema.with_metadata({**(schema.metadata or {}), **(metadata or {})})
    return pa.Table.from_batches([make_batch(full, columns)])


def make_batch(schema: pa.Schema, columns: Columns) -> pa.RecordBatch:
    """Make rows of a schema; arguments and errors as for `make_table`."""
    names = set(schema.names)
    if set(columns) != names:
        missing, unknown = sorted(names - set(columns)), sorted(set(columns) - names)
        raise ConfigError(f"columns do not match the table: missing {missing}, unknown {unknown}")
    arrays = [_to_array(columns[field.name], field) for field in schema]
    lengths = {field.name: len(array) for field, array in zip(schema, arrays, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"columns have different lengths: {lengths}")
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def check_form(table: pa.Table, kind: str, version: int, schema: pa.Schema, where: str, remedy: str) -> None:
    """Check that a table is what its reader knows.

    Args:
        table: What was read.
        kind: What the file says it is.
        version: Version of the form.
        schema: Columns and types, exactly.
        where: What messages call the file.
        remedy: What messages recommend.

    Raises:
        StateError: It is something else, or of another version or form.
    """
    metadata = table.schema.metadata or {}
    found, found_version = (metadata.get(key, b"nothing").decode(errors="replace") for key in (TABLE_KEY, VERSION_KEY))
    if found != kind:
        raise StateError(f"{where} is not a table of {kind} (it says it is {found!r}): {remedy}")
    if found_version != str(version):
        raise StateError(
            f"{where} has version {found_version} of the tables of {kind}, this package reads version {version}: "
            f"{remedy}, or use the multinas-ray that wrote it"
        )
    if not table.schema.equals(schema):
        differing = ", ".join(sorted({f"{each.name}: {each.type}" for each in set(table.schema) ^ set(schema)}))
        raise StateError(
            f"{where} does not have the columns of a table of {kind}; these differ: "
            f"{differing or 'their order'}: restore a copy"
        )


def _damaged(path: AnyPath, error: BaseException, remedy: str = RESTORE) -> StateError:
    return StateError(f"{resolve(path)} is not a readable Parquet file ({first_line(error)}): {remedy}")


def _checked_table(file: pq.ParquetFile, columns: list[str] | None) -> pa.Table:
    """The table of a file whose numbers of rows agree.

    Raises:
        ValueError: They do not.
    """
    table = file.read(columns)  # first: of damaged metadata the reading raises, where a look at a column may abort
    if missing := set(columns or ()) - set(table.column_names):
        raise ValueError(f"it has no columns {', '.join(sorted(missing))}")
    metadata = file.metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    is_flat = [file.schema.column(number).max_repetition_level == 0 for number in range(metadata.num_columns)]
    for group in groups:
        counts = {group.column(number).num_values for number in range(group.num_columns) if is_flat[number]}
        if counts - {group.num_rows}:
            raise ValueError(f"a row group of {group.num_rows} rows has columns of {sorted(counts)}")
    if not table.num_rows == metadata.num_rows == sum(group.num_rows for group in groups):
        raise ValueError(f"it has {table.num_rows} rows, not {metadata.num_rows}")
    table.validate(full=True)
    return table


def _to_array(values: Any, field: pa.Field) -> pa.Array:
    try:
        if isinstance(values, pa.Array):
            array = values.cast(field.type)
        elif pa.types.is_list(field.type) and isinstance(values, np.ndarray) and values.ndim == 2:
            offsets = np.arange(len(values) + 1, dtype=np.int32) * values.shape[1]
            flat = pa.array(values.reshape(-1)).cast(field.type.value_type)
            array = pa.ListArray.from_arrays(offsets, flat)
        elif isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype != object:
            array = pa.array(values).cast(field.type)  # cast refuses what would change a value
        else:
            array = pa.array(values, type=field.type)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"column {field.name!r} does not hold {field.type}: {first_line(error)}") from error
    if array.null_count and not field.nullable:
        raise ConfigError(f"column {field.name!r} has {array.null_count} empty values and allows none")
    return array
