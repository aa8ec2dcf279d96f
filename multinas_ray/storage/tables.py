"""Tables that grow while a search runs and survive when it is killed at any moment."""

import re
from collections.abc import Mapping

import pyarrow as pa

from multinas_ray.errors import ConfigError, FileTakenError, StateError, StorageError
from multinas_ray.settings import checked_arguments
from multinas_ray.storage.files import write_atomic
from multinas_ray.storage.folders import list_files, make_folder
from multinas_ray.storage.parquet import Columns, encode_parquet, make_batch
from multinas_ray.storage.places import AnyPath, resolve

_PART = re.compile(r"part-(\d{5,})\.parquet")
_MOST_BATCHES = 32  # joined beyond this, since a file's write time grows with the number of pieces


class TableWriter:
    """Appends rows to a folder of Parquet files `part-00000.parquet`, `part-00001.parquet`, ...

    One part is open. Each append rewrites it whole and atomically, and seals it once it holds `rows_per_part` rows. So
    an append writes at most one part, it is on disk as a whole or not at all, and no row is ever in two parts. A new
    writer leaves the parts that it finds and continues with the next one.

    While a writer is at work, read the open part with `read_parquet`: a reader that opens a file twice, as pandas does,
    may meet two versions of it. Sealed parts never change.

    Only one writer may be at work in a folder. A second one that is still alive is refused when it begins its next
    part. A writer is not thread-safe.

    Args:
        directory: The folder, created if needed.
        schema: Columns and types, see `multinas_ray.runs.schema`.
        metadata: Text kept in each file beside the schema's own metadata.
        rows_per_part: Rows at which a part is sealed.

    Raises:
        ConfigError: `rows_per_part` is below 1.
        StorageError: The folder cannot be created or listed.
    """

    @checked_arguments
    def __init__(
        self,
        directory: AnyPath,
        schema: pa.Schema,
        metadata: Mapping[str, str],
        rows_per_part: int = 4096,
    ) -> None:
        if rows_per_part < 1:
            raise ConfigError(f"rows_per_part must be at least 1, not {rows_per_part}")
        self._folder = resolve(directory)
        self._schema = schema
        self.set_metadata(metadata)
        self._rows_per_part = rows_per_part
        make_folder(self._folder)
        names = list_files(self._folder, ".parquet")
        numbers = [int(match[1]) for match in map(_PART.fullmatch, names) if match]
        self._part = max(numbers, default=-1) + 1
        self._written: list[pa.RecordBatch] = []
        self._buffered: list[pa.RecordBatch] = []
        self._may_be_there = False

    def set_metadata(self, metadata: Mapping[str, str]) -> None:
        """Replace the text that is kept in each file from its next writing on."""
        self._metadata = {**(self._schema.metadata or {}), **{name.encode(): text for name, text in metadata.items()}}

    def append(self, columns: Columns) -> None:
        """Write rows, and before them those that are buffered; they are durable on return.

        Args:
            columns: Column name -> one value per row, for each column of the schema; (n, D) arrays too.

        Raises:
            ConfigError: Columns are missing, unknown, of different lengths, or do not fit their types.
            StateError: Another writer is at work in the folder.
            StorageError: The file system refused. None of these rows is kept then, so the call can be repeated.
        """
        batch = make_batch(self._schema, columns)
        self._write([*self._buffered, batch])

    def buffer(self, columns: Columns) -> None:
        """Keep rows in memory until the next `flush` or `append`; arguments and errors as in `append`."""
        self._buffered.append(make_batch(self._schema, columns))

    def flush(self) -> None:
        """Write the buffered rows; they are durable on return, and stay buffered if an error is raised."""
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
        table = pa.Table.from_batches(batches).replace_schema_metadata(self._metadata)
        is_full = table.num_rows >= self._rows_per_part
        file = self._folder.join(f"part-{self._part:05d}.parquet")
        content, overwrite = encode_parquet(table, quickly=not is_full), bool(self._written) or self._may_be_there
        try:
            write_atomic(file, content, overwrite=overwrite)
        except FileTakenError as error:
            raise StateError(
                f"{file} appeared while this writer was at work: another process writes into the same run; "
                "stop one of them, or give each its own storage_path"
            ) from error
        except StorageError:
            self._may_be_there = not file.is_local  # a store may take a file, and its answer may be lost
            raise
        self._buffered, self._may_be_there = [], False
        self._written = [] if is_full else batches
        self._part += is_full


def _joined(batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    if len(batches) <= _MOST_BATCHES:
        return batches
    joined: list[pa.RecordBatch] = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return joined
