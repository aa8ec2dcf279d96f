"""Journals: rows are made durable at once and cheaply, and are gathered into Parquet later.

A Parquet file is always written as a whole, which takes milliseconds. So new rows first go to a journal: a file of
lines in the folder `_journal` beside the Parquet parts, named by the number of rows written before it. Each line holds
the rows of one call and a checksum of itself, so they are there together or not at all. When enough rows have come,
they are written as Parquet and the journal is deleted. Whatever a crash leaves behind, each row counts once: if a
journal starts at row s and the parts hold n rows, the first n - s rows of the journal are in the parts already.
"""

import json
import re
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pyarrow as pa

from multinas_ray.errors import ConfigError, StateError, StorageError, first_line
from multinas_ray.settings import checked_arguments
from multinas_ray.storage.files import delete_file, read_bytes
from multinas_ray.storage.folders import list_files, make_folder
from multinas_ray.storage.journal_files import JournalFile
from multinas_ray.storage.parquet import count_rows, make_table
from multinas_ray.storage.places import AnyPath, Location, resolve
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

    `append` writes one line and syncs it to the disk (0.15 ms on an SSD). An object store has no files that can be
    appended to. For a table there, the journal lies in a folder of this machine, and `flush` brings its rows into the
    store; without such a folder each `append` rewrites the open Parquet part, which costs a request.

    Only one writer may be at work in a folder. One thread may append while another one flushes.

    Args:
        directory: The folder, created if needed. Journals that a killed writer left are gathered first.
        schema: Columns and types of the table.
        header: Plain data on a journal's first line; journals that begin with another are refused.
        metadata: As for `TableWriter`.
        journal: Folder of the journal, on a disk of this machine, for a table in an object store.

    Raises:
        StateError: A file in the folder cannot be read, or another writer is at work.
        StorageError: The file system refused.
    """

    @checked_arguments
    def __init__(
        self,
        directory: AnyPath,
        schema: pa.Schema,
        header: Mapping[str, Any],
        metadata: Mapping[str, str],
        journal: AnyPath | None = None,
    ) -> None:
        self._folder = resolve(directory)
        self._journal_folder = self._folder.join(JOURNAL_FOLDER) if journal is None else resolve(journal)
        self._header = dict(header)
        self._table = TableWriter(self._folder, schema, metadata)
        self._names = self._table.column_names
        self._kept: list[Rows] = []
        self._num_kept = 0
        self._journal: JournalFile | None = None
        self._changing, self._flushing = threading.Lock(), threading.Lock()
        journals = _read_folder(self._journal_folder)
        self._num_written = sum(count_rows(self._folder.join(name)) for name in list_files(self._folder, ".parquet"))
        self._kept = journals.rows_from(self._num_written, self._header)
        self._num_kept = sum(map(_length, self._kept))
        with _misfits_as_damage(journals.newest):
            self.flush()
        self._remove_journals(self._num_written)

    @property
    def num_kept(self) -> int:
        """Rows that are not in Parquet files yet."""
        return self._num_kept

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
        if self._journal_folder.is_local:
            with self._changing:
                self._write_line(rows, sync)
                self._keep(rows)
            if self._folder.is_local and self._num_kept >= ROWS_PER_FLUSH:
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
        with self._flushing:
            with self._changing:
                taken, number = list(self._kept), self._num_kept
                if taken:
                    self._end_journal()  # rows that are appended meanwhile go into the next one
            if not taken:
                return
            self._table.append(_joined(taken, self._names))
            with self._changing:
                del self._kept[: len(taken)]
                self._num_kept -= number
                self._num_written += number
            self._remove_journals(self._num_written - 1)

    def _keep(self, rows: Rows) -> None:
        self._kept.append(rows)
        self._num_kept += _length(rows)

    def _end_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _remove_journals(self, last: int) -> None:
        """Remove the journals that begin after at most `last` rows of the table."""
        for name in list_files(self._journal_folder, ".jsonl") if self._journal_folder.is_local else ():
            match = _JOURNAL.fullmatch(name)
            if match and int(match[1]) <= last:
                delete_file(self._journal_folder.join(name))

    def _write_line(self, rows: Rows, sync: bool) -> None:
        if self._journal is None:
            make_folder(self._journal_folder)
            place = self._journal_folder.join(f"{self._num_written + self._num_kept:012d}.jsonl")
            self._journal = JournalFile(place, self._header)
        self._journal.write(rows, sync)


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
    return _read_folder(resolve(folder).join(JOURNAL_FOLDER))


def _read_folder(place: Location) -> Journals:
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
