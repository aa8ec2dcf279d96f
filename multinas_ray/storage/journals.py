"""Journals: rows are made durable at once and cheaply, and are gathered into Parquet later.

A Parquet file is always written as a whole, which takes milliseconds. So new rows first go to a journal: a file of
lines in the folder `_journal` beside the Parquet parts, named by the number of rows written before it. Each line holds
the rows of one call and a checksum of itself, so they are there together or not at all. When enough rows have come,
they are written as Parquet and the journal is deleted. Whatever a crash leaves behind, each row counts once: if a
journal starts at row s and the parts hold n rows, the first n - s rows of the journal are in the parts already.
"""

import json
import os
import re
import weakref
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from multinas_ray.errors import ConfigError, StateError, StorageError, first_line
from multinas_ray.settings import checked_arguments
from multinas_ray.storage.files import delete_file, read_bytes, sync_folder
from multinas_ray.storage.folders import list_files, make_folder
from multinas_ray.storage.parquet import count_rows, make_table
from multinas_ray.storage.places import AnyPath, Location, resolve
from multinas_ray.storage.system_errors import translated_errors
from multinas_ray.storage.tables import TableWriter

ROWS_PER_FLUSH = 256
"""Rows a journal holds before they become Parquet."""

JOURNAL_FOLDER = "_journal"
"""Other tools that read a folder of Parquet files leave out what begins with an underscore."""

_JOURNAL = re.compile(r"(\d{12})\.jsonl")
_READ_ATTEMPTS = 5

Rows = Mapping[str, Sequence[Any]]
"""Column name -> one plain value per row; a time as whole microseconds since 1970."""


class JournaledWriter:
    """Appends rows to a folder of Parquet parts, by way of a journal.

    `append` writes one line and syncs it to the disk (0.15 ms on an SSD). In an object store, whose files cannot be
    appended to, it rewrites the open Parquet part instead, which costs a request. Only one writer may be at work in a
    folder. A writer is not thread-safe.

    Args:
        directory: The folder, created if needed. Journals that a killed writer left are gathered first.
        schema: Columns and types of the table.
        header: Plain data on a journal's first line; journals that begin with another are refused.
        metadata: As for `TableWriter`.

    Raises:
        StateError: A file in the folder cannot be read, or another writer is at work.
        StorageError: The file system refused.
    """

    @checked_arguments
    def __init__(
        self, directory: AnyPath, schema: pa.Schema, header: Mapping[str, Any], metadata: Mapping[str, str]
    ) -> None:
        self._folder = resolve(directory)
        self._header = dict(header)
        self._table = TableWriter(self._folder, schema, metadata)
        self._names = self._table.column_names
        self._kept: list[Rows] = []
        self._num_kept = 0
        self._journal: _JournalFile | None = None
        self._can_append = self._folder.is_local
        journals = read_journals(self._folder)
        self._num_written = sum(count_rows(self._folder.join(name)) for name in list_files(self._folder, ".parquet"))
        self._kept = journals.rows_from(self._num_written, self._header)
        self._num_kept = sum(map(_length, self._kept))
        with _misfits_as_damage(journals.newest):
            self.flush()
        self._remove_journals()

    def set_metadata(self, metadata: Mapping[str, str]) -> None:
        """Replace the text that is kept in each Parquet file from its next writing on."""
        self._table.set_metadata(metadata)

    def append(self, rows: Rows, *, sync: bool = True) -> None:
        """Make rows durable, all of them or none.

        Args:
            rows: All columns of the table.
            sync: Whether the rows must survive a crash of the whole machine too. Otherwise they survive it only after
                the next synced rows or the next flush. A sync takes longer than everything else.

        Raises:
            StateError: Another writer is at work in the folder.
            StorageError: The file system refused; the rows are not kept then.
        """
        if self._can_append:
            self._write_line(rows, sync)
            self._keep(rows)
            if self._num_kept >= ROWS_PER_FLUSH:
                with suppress(StorageError):  # the rows are safe in the journal; the next append tries again
                    self.flush()
            return
        self._keep(rows)
        try:
            self.flush()
        except BaseException:
            self._num_kept -= _length(self._kept.pop())
            raise

    def flush(self) -> None:
        """Write all rows as Parquet; raises as `append`. On an error they stay in the journal."""
        if not self._kept:
            return
        self._table.append(_joined(self._kept, self._names))
        self._num_written += self._num_kept
        self._kept, self._num_kept = [], 0
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            self._remove_journals()

    def _keep(self, rows: Rows) -> None:
        self._kept.append(rows)
        self._num_kept += _length(rows)

    def _remove_journals(self) -> None:
        folder = self._folder.join(JOURNAL_FOLDER)
        for name in list_files(folder, ".jsonl"):
            delete_file(folder.join(name))

    def _write_line(self, rows: Rows, sync: bool) -> None:
        if self._journal is None:
            make_folder(self._folder.join(JOURNAL_FOLDER))
            place = self._folder.join(JOURNAL_FOLDER, f"{self._num_written:012d}.jsonl")
            self._journal = _JournalFile(place, self._header)
        self._journal.write(rows, sync)


class _JournalFile:
    """A file to which lines are appended, each completely or not at all.

    Raises:
        StateError: The file exists: another writer is at work.
        StorageError: The file system refused.
    """

    def __init__(self, place: Location, header: Mapping[str, Any]) -> None:
        self._place, self._size_bytes = place, 0
        with translated_errors(place, "written"):
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

    def write(self, content: Mapping[str, Any], sync: bool = True) -> None:
        """Append a line, and sync it and those before it to the disk if asked to.

        Raises:
            StorageError: The file system refused.
        """
        text = json.dumps(content, separators=(",", ":")).encode()
        data = b"%08x %b\n" % (zlib.crc32(text), text)
        with translated_errors(self._place, "written"):
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
        while data:  # when the disk becomes full, the system first writes a part and then raises
            data = data[os.write(self._descriptor, data) :]

    def _cut_off(self) -> None:
        """Remove what was written of a line that was not kept."""
        if os.fstat(self._descriptor).st_size > self._size_bytes:
            os.ftruncate(self._descriptor, self._size_bytes)


class Journals:
    """The journals of a folder at one moment."""

    def __init__(self, folder: Location, contents: Mapping[int, "_Content"]) -> None:
        self._folder, self._contents = folder, dict(sorted(contents.items()))

    @property
    def newest(self) -> Location:
        """The newest journal, or the folder if there is none; messages name it."""
        return self._contents[max(self._contents)].place if self._contents else self._folder

    def rows_from(self, num_written: int, header: Mapping[str, Any]) -> list[Rows]:
        """Return the rows that are not among the first `num_written`, as they were written together.

        Args:
            num_written: Rows that are in the parts already.
            header: What each journal must begin with.

        Raises:
            StateError: Rows between are missing, or a journal begins with something else.
        """
        rows: list[Rows] = []
        count = num_written
        for start, content in self._contents.items():
            if content.rows and content.header != dict(header):
                raise StateError(
                    f"{content.place} begins with {content.header}, not with {dict(header)}, so another run or "
                    "another version of multinas-ray wrote it: use that version, or restore a copy"
                )
            if start > count:
                raise StateError(
                    f"{content.place} begins after {start} rows of the table, of which {start - count} are missing "
                    f"(rows {count} to {start - 1}): restore a copy of the Parquet files beside it"
                )
            known = count - start
            for each in content.rows:
                if known < _length(each):
                    rows.append({name: values[max(0, known) :] for name, values in each.items()})
                    count += _length(rows[-1])
                known -= _length(each)
        return rows

    def table_from(self, num_written: int, header: Mapping[str, Any], schema: pa.Schema) -> pa.Table | None:
        """Return those rows as a table of a schema, or None if there are none; otherwise as `rows_from`."""
        rows = self.rows_from(num_written, header)
        if not rows:
            return None
        with _misfits_as_damage(self.newest):
            return make_table(schema.remove_metadata(), _joined(rows, schema.names))


class _Content(NamedTuple):
    """What a journal holds."""

    place: Location
    header: dict[str, Any]
    rows: Sequence[Rows]


def read_journals(folder: AnyPath) -> Journals:
    """Read the journals of a folder. Read them before the parts: rows move from the former to the latter.

    Raises:
        StateError: A journal is damaged.
    """
    place = resolve(folder).join(JOURNAL_FOLDER)
    for attempt in range(_READ_ATTEMPTS):
        matches = [_JOURNAL.fullmatch(name) for name in list_files(place, ".jsonl")]
        try:
            contents = {int(match[1]): _read_journal(place.join(match[0])) for match in matches if match}
            return Journals(place, contents)
        except StateError:
            if attempt == _READ_ATTEMPTS - 1:
                raise  # otherwise it was removed between the look and the reading
    raise AssertionError("unreachable")


def salvaged_rows(folder: AnyPath, schema: pa.Schema) -> pa.Table:
    """Read every row of a folder's journals that is whole and fits the schema, whatever else is damaged.

    Args:
        folder: The folder of the table.
        schema: Columns and types of the rows.

    Returns:
        The rows; some may be in the Parquet parts too.

    Raises:
        StorageError: The file system refused.
    """
    place = resolve(folder).join(JOURNAL_FOLDER)
    found = [schema.remove_metadata().empty_table()]
    for name in list_files(place, ".jsonl"):
        for line in read_bytes(place.join(name)).split(b"\n"):
            content = _content_of(line)
            if content is not None and _is_rows(content):
                with suppress(ConfigError, KeyError):
                    found.append(make_table(schema.remove_metadata(), content))
    return pa.concat_tables(found)


def _read_journal(file: Location) -> _Content:
    lines = read_bytes(file).split(b"\n")[:-1]  # a line that was cut off in the middle never counted
    if not lines:
        return _Content(file, {}, [])
    contents = []
    for number, line in enumerate(lines, start=1):
        content = _content_of(line)
        if content is None or (number > 1 and not _is_rows(content)):
            remedy = "restore a copy"
            if 1 < number == len(lines):
                remedy = f"{remedy}, or delete this line, its last, to continue without its rows"
            raise StateError(f"{file} is damaged in line {number}: {remedy}")
        contents.append(content)
    header, *rows = contents
    return _Content(file, header, rows)


def _content_of(line: bytes) -> dict[str, Any] | None:
    """What a line holds, or None if the line is damaged."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _is_rows(content: Mapping[str, Any]) -> bool:
    lengths = {len(values) if isinstance(values, list) else -1 for values in content.values()}
    return len(lengths) == 1 and min(lengths) > 0


def _length(rows: Rows) -> int:
    return len(next(iter(rows.values())))


def _joined(parts: Sequence[Rows], names: Sequence[str]) -> dict[str, list[Any]]:
    return {name: [value for part in parts for value in part[name]] for name in names}


@contextmanager
def _misfits_as_damage(place: Location) -> Iterator[None]:
    """Report rows of a journal that do not fit the table's columns as damage of the file."""
    try:
        yield
    except (KeyError, ConfigError) as error:
        raise StateError(f"{place} does not hold rows of this table ({first_line(error)}): restore a copy") from error
