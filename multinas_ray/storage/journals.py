"""Single rows made durable at once and cheaply, and gathered into Parquet.

A Parquet file is written whole, which costs milliseconds. So new rows go to a journal first: a file of one line of
JSON a row beside the Parquet parts, named by the number of rows written before it. When enough rows have come they
are written as Parquet and the journal goes. Whatever a crash leaves behind, a row counts once: of a journal that
starts at row s, with n rows in the parts, the first n - s lines are in the parts already.
"""

import contextlib
import errno
import json
import os
import re
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from multinas_ray.errors import StateError
from multinas_ray.storage import files as storage
from multinas_ray.storage.tables import TableWriter

ROWS_PER_FLUSH = 256
"""Rows a journal holds before they become Parquet."""

_JOURNAL = re.compile(r"journal-(\d{12})\.jsonl")
_READ_ATTEMPTS = 5

Row = dict[str, Any]
"""Column name -> plain value; a time as whole microseconds since 1970."""


class JournaledWriter:
    """Appends single evaluations to a folder of Parquet parts, by way of a journal.

    `append` writes one line and syncs it to the disk (0.15 ms on an SSD). Where files cannot be appended to, as in
    object stores, it rewrites the open Parquet part instead, which costs a request. One writer a folder; not
    thread-safe.

    Args:
        directory: The folder, created if needed. Journals that a killed writer left are gathered first.
        schema: Columns and types of the table.
        header: Plain data written on a journal's first line, from which a reader makes the schema again.
        metadata: As for `TableWriter`.

    Raises:
        StateError: What is there cannot be read, or another writer is at work.
    """

    def __init__(
        self, directory: storage.AnyPath, schema: pa.Schema, header: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> None:
        self._folder = storage.resolve(directory)
        self._header = dict(header)
        self._table = TableWriter(self._folder, schema, metadata)
        self._names = self._table.column_names
        self._rows: list[Row] = []
        self._journal: _JournalFile | None = None
        self._can_append = isinstance(self._folder.fs, pafs.LocalFileSystem)
        journals = read_journals(self._folder)
        self._num_written = sum(_num_rows(self._folder.join(name)) for name in self._part_names())
        self._rows = journals.rows_from(self._num_written)
        self.flush()
        self._remove_journals()

    def append(self, row: Row, *, sync: bool = True) -> None:
        """Make a row durable.

        Args:
            row: the row.
            sync: whether a crash of the whole machine may not lose it either. Else it is safe from that with the next
                row that is, or at the next flush; a sync costs more than all the rest.

        Raises:
            StateError: Another writer is at work in the folder.
            OSError: The file system refused; the row is not kept then.
        """
        if self._can_append:
            self._write_line(row, sync)
        self._rows.append(row)
        if not self._can_append or len(self._rows) >= ROWS_PER_FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write all rows as Parquet. On an error they stay in the journal."""
        if not self._rows:
            return
        self._table.append({name: [row[name] for row in self._rows] for name in self._names})
        self._num_written += len(self._rows)
        self._rows = []
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            self._remove_journals()

    def _part_names(self) -> list[str]:
        return storage.list_files(self._folder, ".parquet")

    def _remove_journals(self) -> None:
        for name in storage.list_files(self._folder, ".jsonl"):
            self._folder.fs.delete_file(self._folder.join(name).path)

    def _write_line(self, row: Row, sync: bool) -> None:
        if self._journal is None:
            path = Path(self._folder.join(f"journal-{self._num_written:012d}.jsonl").path)
            self._journal = _JournalFile(path, self._header)
        self._journal.write(row, sync)


class _JournalFile:
    """A file that lines are appended to, each there on return as a whole or not at all.

    Raises:
        StateError: The file exists: another writer is at work.
    """

    def __init__(self, path: Path, header: Row) -> None:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
        except FileExistsError as error:
            raise StateError(
                f"{path} appeared while this writer was at work: another search records into the same folder; give "
                "each its own record_path"
            ) from error
        self._descriptor, self._size_bytes = descriptor, 0
        self.close = weakref.finalize(self, os.close, descriptor)
        self.write(header)
        with contextlib.suppress(OSError):  # file systems that cannot sync a folder are left to themselves
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def write(self, line: Row, sync: bool = True) -> None:
        """Append a line, and sync it and those before it to the disk if asked to."""
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            if os.write(self._descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, "the disk is full")
            if sync:
                os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._size_bytes)
            raise
        self._size_bytes += len(data)


class Journals:
    """The journals of a folder at one moment."""

    def __init__(self, contents: dict[int, tuple[Row, list[Row]]]) -> None:
        self._contents = contents

    def rows_from(self, num_written: int) -> list[Row]:
        """Return the rows that are not among the first `num_written`.

        Raises:
            StateError: Rows between are missing.
        """
        rows: list[Row] = []
        for start, (_, lines) in sorted(self._contents.items()):
            count = num_written + len(rows)
            if start > count:
                raise StateError(f"rows {count} to {start - 1} of the evaluations are missing: restore a copy")
            rows += lines[count - start :]
        return rows

    def table_from(self, num_written: int, schema_of: Callable[[Row], pa.Schema]) -> pa.Table | None:
        """Return those rows as a table, or None if there are none; errors as in `rows_from`.

        Args:
            num_written: Rows that are in the parts already.
            schema_of: The table's schema from a journal's header; it may raise StateError.
        """
        rows = self.rows_from(num_written)
        if not rows:
            return None
        schema = schema_of(self._contents[max(self._contents)][0]).remove_metadata()
        return pa.Table.from_pydict({name: [row[name] for row in rows] for name in schema.names}, schema=schema)


def read_journals(folder: storage.Location) -> Journals:
    """Read the journals of a folder. Read them before the parts: rows move from the former to the latter.

    Raises:
        StateError: A journal is damaged or of another version.
    """
    for attempt in range(_READ_ATTEMPTS):
        matches = [_JOURNAL.fullmatch(name) for name in storage.list_files(folder, ".jsonl")]
        try:
            return Journals({int(match[1]): _read_journal(folder.join(match[0])) for match in matches if match})
        except StateError:
            if attempt == _READ_ATTEMPTS - 1:
                raise  # otherwise it was removed between the look and the reading
    raise AssertionError("unreachable")


def _read_journal(file: storage.Location) -> tuple[Row, list[Row]]:
    lines = storage.read_bytes(file).split(b"\n")[:-1]  # a line that was cut off in the middle never counted
    if not lines:
        return {}, []
    try:
        header, *rows = map(json.loads, lines)
    except ValueError as error:
        raise StateError(f"{file} is not a readable journal ({error}): restore a copy") from error
    return header, rows


def _num_rows(file: storage.Location) -> int:
    return int(pq.read_metadata(pa.BufferReader(storage.read_bytes(file))).num_rows)
