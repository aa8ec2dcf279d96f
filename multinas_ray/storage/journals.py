"""Single rows made durable at once and cheaply, and gathered into Parquet.

A Parquet file is written whole, which costs milliseconds. So new rows go to a journal first: a file of one line of
JSON a row beside the Parquet parts, named by the number of rows written before it. When enough rows have come they
are written as Parquet and the journal goes. Whatever a crash leaves behind, a row counts once: of a journal that
starts at row s, with n rows in the parts, the first n - s lines are in the parts already.
"""

import json
import os
import re
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from multinas_ray.errors import ConfigError, StateError, StorageError, first_line
from multinas_ray.storage.files import delete_file, read_bytes, sync_folder
from multinas_ray.storage.folders import list_files
from multinas_ray.storage.parquet import count_rows, make_table
from multinas_ray.storage.places import AnyPath, Location, resolve
from multinas_ray.storage.refusals import refusals_told
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
        self, directory: AnyPath, schema: pa.Schema, header: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> None:
        self._folder = resolve(directory)
        self._header = dict(header)
        self._table = TableWriter(self._folder, schema, metadata)
        self._names = self._table.column_names
        self._rows: list[Row] = []
        self._journal: _JournalFile | None = None
        self._can_append = self._folder.is_local
        journals = read_journals(self._folder)
        self._num_written = sum(count_rows(self._folder.join(name)) for name in list_files(self._folder, ".parquet"))
        self._rows = journals.rows_from(self._num_written)
        with _misfits_told(self._folder):
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
            StorageError: The file system refused; the row is not kept then.
        """
        if self._can_append:
            self._write_line(row, sync)
            self._rows.append(row)
            if len(self._rows) >= ROWS_PER_FLUSH:
                with suppress(StorageError):  # the row is in the journal: the next append tries again
                    self.flush()
            return
        self._rows.append(row)
        try:
            self.flush()
        except BaseException:
            self._rows.pop()
            raise

    def flush(self) -> None:
        """Write all rows as Parquet; raises as `append`. On an error they stay in the journal."""
        if not self._rows:
            return
        self._table.append({name: [row[name] for row in self._rows] for name in self._names})
        self._num_written += len(self._rows)
        self._rows = []
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            self._remove_journals()

    def _remove_journals(self) -> None:
        for name in list_files(self._folder, ".jsonl"):
            delete_file(self._folder.join(name))

    def _write_line(self, row: Row, sync: bool) -> None:
        if self._journal is None:
            place = self._folder.join(f"journal-{self._num_written:012d}.jsonl")
            self._journal = _JournalFile(place, self._header)
        self._journal.write(row, sync)


class _JournalFile:
    """A file that lines are appended to, each there on return as a whole or not at all.

    Raises:
        StateError: The file exists: another writer is at work.
        StorageError: The file system refused.
    """

    def __init__(self, place: Location, header: Row) -> None:
        self._place, self._size_bytes = place, 0
        with refusals_told(place, "written"):
            try:
                self._descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
            except FileExistsError as error:
                raise StateError(
                    f"{place} appeared while this writer was at work: another search records into the same folder; "
                    "give each its own record_path"
                ) from error
        self.close = weakref.finalize(self, os.close, self._descriptor)
        try:
            self.write(header)
        except StorageError:
            self.close()
            delete_file(place)
            raise
        sync_folder(Path(place.path).parent)

    def write(self, line: Row, sync: bool = True) -> None:
        """Append a line, and sync it and those before it to the disk if asked to.

        Raises:
            StorageError: The file system refused.
        """
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with refusals_told(self._place, "written"):
            self._cut_off()
            try:
                self._append(data)
                if sync:
                    os.fsync(self._descriptor)
            except BaseException:
                self._cut_off()
                raise
        self._size_bytes += len(data)

    def _append(self, data: bytes) -> None:
        while data:  # where the disk gets full the system writes a part, and tells at the next
            data = data[os.write(self._descriptor, data) :]

    def _cut_off(self) -> None:
        """Remove what was written of a line that was not kept."""
        if os.fstat(self._descriptor).st_size > self._size_bytes:
            os.ftruncate(self._descriptor, self._size_bytes)


class Journals:
    """The journals of a folder at one moment."""

    def __init__(self, contents: Mapping[int, "_Content"]) -> None:
        self._contents = dict(sorted(contents.items()))

    def rows_from(self, num_written: int) -> list[Row]:
        """Return the rows that are not among the first `num_written`.

        Raises:
            StateError: Rows between are missing.
        """
        rows: list[Row] = []
        for start, content in self._contents.items():
            count = num_written + len(rows)
            if start > count:
                raise StateError(
                    f"{content.place} begins after {start} rows of the evaluations, of which {start - count} are "
                    f"missing (rows {count} to {start - 1}): restore a copy"
                )
            rows += content.rows[count - start :]
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
        newest = self._contents[max(self._contents)]
        schema = schema_of(newest.header).remove_metadata()
        with _misfits_told(newest.place):
            return make_table(schema, {name: [row[name] for row in rows] for name in schema.names})


class _Content(NamedTuple):
    """What a journal holds."""

    place: Location
    header: Row
    rows: list[Row]


def read_journals(folder: AnyPath) -> Journals:
    """Read the journals of a folder. Read them before the parts: rows move from the former to the latter.

    Raises:
        StateError: A journal is damaged or of another version.
    """
    place = resolve(folder)
    for attempt in range(_READ_ATTEMPTS):
        matches = [_JOURNAL.fullmatch(name) for name in list_files(place, ".jsonl")]
        try:
            return Journals({int(match[1]): _read_journal(place.join(match[0])) for match in matches if match})
        except StateError:
            if attempt == _READ_ATTEMPTS - 1:
                raise  # otherwise it was removed between the look and the reading
    raise AssertionError("unreachable")


def _read_journal(file: Location) -> _Content:
    lines = read_bytes(file).split(b"\n")[:-1]  # a line that was cut off in the middle never counted
    if not lines:
        return _Content(file, {}, [])
    try:
        header, *rows = map(json.loads, lines)
    except (ValueError, RecursionError) as error:
        raise StateError(f"{file} is not a readable journal ({first_line(error)}): restore a copy") from error
    if not all(isinstance(each, dict) for each in (header, *rows)):
        raise StateError(f"{file} is not a readable journal (a line is no JSON object): restore a copy")
    return _Content(file, header, rows)


@contextmanager
def _misfits_told(place: Location) -> Iterator[None]:
    """Tell rows of a journal that do not fit the table's columns as damage of the file."""
    try:
        yield
    except (KeyError, ConfigError) as error:
        raise StateError(f"{place} does not hold rows of this table ({first_line(error)}): restore a copy") from error
