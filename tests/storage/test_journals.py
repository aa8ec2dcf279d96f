import errno
import json
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from multinas_ray.errors import StateError, StorageError
from multinas_ray.storage import (
    JournaledWriter,
    TableWriter,
    list_files,
    read_journals,
    read_parquet,
    resolve,
    write_atomic,
)
from multinas_ray.storage import tables as tables_module
from multinas_ray.storage.journals import ROWS_PER_FLUSH
from tests.support.stores import place_in_memory

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("accuracy", pa.float64()),
        pa.field("architecture", pa.list_(pa.int16()), nullable=False),
        pa.field("timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
HEADER = {"schema_version": 2}
FIRST = "000000000000.jsonl"


def rows(*numbers: int, **changes: Any) -> dict[str, list[Any]]:
    columns = {
        "id": list(numbers),
        "loss": [0.5 * number for number in numbers],
        "accuracy": [None] * len(numbers),
        "architecture": [(1, 2)] * len(numbers),
        "timestamp": [1_700_000_000_123_456] * len(numbers),
    }
    return {**columns, **changes}


def writer(folder: Any) -> JournaledWriter:
    return JournaledWriter(folder, SCHEMA, HEADER, {})


def table(folder: Any) -> pa.Table:
    """All rows, as a reader finds them."""
    place = resolve(folder)
    journals = read_journals(place)
    parts = [read_parquet(place.join(name)) for name in list_files(place, ".parquet")]
    newer = journals.table_from(sum(part.num_rows for part in parts), HEADER, SCHEMA)
    return pa.concat_tables([SCHEMA.empty_table(), *parts, *([] if newer is None else [newer])])


def ids(folder: Any) -> list[int]:
    numbers: list[int] = table(folder)["id"].to_pylist()
    return numbers


def journals(folder: Path) -> list[Path]:
    return sorted((folder / "_journal").glob("*.jsonl"))


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.parquet"))


def test_a_row_is_readable_at_once_and_exactly(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(rows(0, loss=[math.inf], accuracy=[math.nan]))
    journal.append(rows(1, loss=[0.1 + 0.2]))
    before = table(tmp_path)
    assert [file.name for file in journals(tmp_path)] == [FIRST]
    assert parts(tmp_path) == []
    journal.flush()
    after = table(tmp_path)
    assert journals(tmp_path) == []
    assert before.to_pandas().equals(after.to_pandas())
    assert before.schema.equals(after.schema)
    assert after["loss"].to_pylist() == [math.inf, 0.1 + 0.2]
    assert after["accuracy"].is_null().to_pylist() == [False, True]
    assert after["timestamp"][0].as_py().isoformat() == "2023-11-14T22:13:20.123456+00:00"
    assert after["architecture"].to_pylist() == [[1, 2], [1, 2]]


def test_rows_become_parquet_when_enough_have_come(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    for number in range(ROWS_PER_FLUSH + 3):
        journal.append(rows(number))
    assert [file.name for file in journals(tmp_path)] == [f"{ROWS_PER_FLUSH:012d}.jsonl"]
    assert ids(tmp_path) == list(range(ROWS_PER_FLUSH + 3))
    assert len(journals(tmp_path)[0].read_text().splitlines()) == 1 + 3


def test_rows_of_one_call_are_one_line(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(rows(0, 1, 2))
    journal.append(rows(3))
    assert len(journals(tmp_path)[0].read_text().splitlines()) == 1 + 2
    assert ids(tmp_path) == [0, 1, 2, 3]
    for number in range(4, ROWS_PER_FLUSH + 4, 4):
        journal.append(rows(*range(number, number + 4)))
    assert ids(tmp_path) == list(range(ROWS_PER_FLUSH + 4))
    assert sum(read_parquet(tmp_path / name).num_rows for name in parts(tmp_path)) == ROWS_PER_FLUSH


def test_other_tools_read_the_folder_beside_a_journal(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(rows(0, 1))
    journal.flush()
    journal.append(rows(2))
    assert len(journals(tmp_path)) == 1
    assert pd.read_parquet(tmp_path)["id"].tolist() == [0, 1]


def test_a_killed_writers_rows_are_gathered_by_the_next(tmp_path: Path) -> None:
    killed = writer(tmp_path)
    for number in range(0, 6, 2):
        killed.append(rows(number, number + 1))
    again = writer(tmp_path)
    assert journals(tmp_path) == []
    again.append(rows(6))
    assert ids(tmp_path) == list(range(7))


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_line_cut_off_by_a_kill_does_not_count(tmp_path: Path, cut: int) -> None:
    killed = writer(tmp_path)
    killed.append(rows(0))
    killed.append(rows(1, 2))
    (file,) = journals(tmp_path)
    file.write_bytes(file.read_bytes()[:-cut])
    assert ids(tmp_path) == [0]
    writer(tmp_path)
    assert ids(tmp_path) == [0]


def test_a_kill_between_parquet_and_the_journals_end_counts_no_row_twice(tmp_path: Path) -> None:
    killed = writer(tmp_path)
    killed.append(rows(0, 1))
    killed.append(rows(2, 3))
    TableWriter(tmp_path, SCHEMA, {}).append(rows(0, 1, 2))
    assert ids(tmp_path) == [0, 1, 2, 3]
    again = writer(tmp_path)
    again.append(rows(4))
    assert ids(tmp_path) == [0, 1, 2, 3, 4]


def test_missing_rows_are_told(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(rows(0))
    journal.flush()
    journal.append(rows(1))
    next(tmp_path.glob("*.parquet")).unlink()
    text = r"000000000001.jsonl begins .* missing \(rows 0 to 0\): restore a copy of the Parquet files beside it"
    with pytest.raises(StateError, match=text):
        ids(tmp_path)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    first, second = writer(tmp_path), writer(tmp_path)
    first.append(rows(0))
    with pytest.raises(StateError, match="another search records into the same folder"):
        second.append(rows(1))
    assert ids(tmp_path) == [0]


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    JournaledWriter(tmp_path, SCHEMA, {"schema_version": 3}, {}).append(rows(0))
    text = rf"{FIRST} begins with {{'schema_version': 3}}, not with .*: use that version, or restore a copy"
    with pytest.raises(StateError, match=text):
        ids(tmp_path)
    with pytest.raises(StateError, match=text):
        writer(tmp_path)


def test_an_object_store_is_written_without_a_journal() -> None:
    stored = place_in_memory("run")
    journal = writer(stored)
    journal.append(rows(0))
    journal.append(rows(1, 2))
    assert list_files(stored, "") == ["part-00000.parquet"]
    assert ids(stored) == [0, 1, 2]


def test_rows_for_an_object_store_wait_on_a_disk_also_those_that_come_during_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = place_in_memory("run")

    def beside(journal: Path = tmp_path) -> JournaledWriter:
        return JournaledWriter(stored, SCHEMA, HEADER, {}, journal)

    journal = beside()
    for number in range(ROWS_PER_FLUSH + 2):
        journal.append(rows(number))
    assert list_files(stored, "") == []
    write = write_atomic

    def append_meanwhile(*given: Any, **named: Any) -> None:
        journal.append(rows(ROWS_PER_FLUSH + 2))
        write(*given, **named)

    with monkeypatch.context() as patches:
        patches.setattr(tables_module, "write_atomic", append_meanwhile)
        journal.flush()
    assert ids(stored) == list(range(ROWS_PER_FLUSH + 2))
    assert [file.name for file in tmp_path.iterdir()] == [f"{ROWS_PER_FLUSH + 2:012d}.jsonl"]
    journal.append(rows(ROWS_PER_FLUSH + 3))
    beside()  # after a kill
    assert ids(stored) == list(range(ROWS_PER_FLUSH + 4))
    assert list(tmp_path.iterdir()) == []


def test_a_row_that_an_object_store_refuses_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = place_in_memory("run")
    journal = writer(stored)
    journal.append(rows(0))

    def refuse(*_: Any, **__: Any) -> None:
        raise StorageError("the store cannot be reached")

    with monkeypatch.context() as patches:
        patches.setattr(tables_module, "write_atomic", refuse)
        with pytest.raises(StorageError, match="cannot be reached"):
            journal.append(rows(1))
    journal.append(rows(2))
    assert ids(stored) == [0, 2]


def full(*_: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_that_does_not_fit_on_the_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = writer(tmp_path)
    journal.append(rows(0))
    write, calls = os.write, []

    def write_a_part(descriptor: int, data: bytes) -> int:
        calls.append(data)
        return write(descriptor, data[:50]) if len(calls) == 1 else full()

    with monkeypatch.context() as patches:
        patches.setattr(os, "write", write_a_part)
        with pytest.raises(StorageError, match=rf"{FIRST} cannot be written \(the disk is full\)"):
            journal.append(rows(1))
    journal.append(rows(2))
    assert ids(tmp_path) == [0, 2]
    journal.flush()
    assert ids(tmp_path) == [0, 2]


def test_a_line_written_in_parts_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = writer(tmp_path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:50]))
    journal.append(rows(0))
    journal.append(rows(1))
    assert ids(tmp_path) == [0, 1]


def test_half_a_line_that_cannot_be_cut_off_at_once_is_cut_off_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = writer(tmp_path)
    journal.append(rows(0))
    with monkeypatch.context() as patches:
        patches.setattr(os, "fsync", full)
        patches.setattr(os, "ftruncate", full)
        with pytest.raises(StorageError, match="the disk is full"):
            journal.append(rows(1))
        with pytest.raises(StorageError, match="the disk is full"):
            journal.append(rows(2))
    journal.append(rows(3))
    assert ids(tmp_path) == [0, 3]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_journal_that_cannot_be_begun_leaves_no_file_and_can_be_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    journal = writer(tmp_path)
    with monkeypatch.context() as patches:
        patches.setattr(os, call, full)
        with pytest.raises(StorageError, match="the disk is full"):
            journal.append(rows(0))
    assert journals(tmp_path) == []
    journal.append(rows(1))
    assert ids(tmp_path) == [1]


def test_rows_that_cannot_become_parquet_yet_stay_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise StorageError(errno.ENOSPC, "the disk is full")

    journal = writer(tmp_path)
    with monkeypatch.context() as patches:
        patches.setattr(tables_module, "write_atomic", refuse)
        for number in range(ROWS_PER_FLUSH + 3):
            journal.append(rows(number))  # durable all the same
        assert parts(tmp_path) == []
        with pytest.raises(StorageError, match="the disk is full"):
            journal.flush()
    assert ids(tmp_path) == list(range(ROWS_PER_FLUSH + 3))
    journal.append(rows(ROWS_PER_FLUSH + 3))
    assert journals(tmp_path) == []
    assert ids(tmp_path) == list(range(ROWS_PER_FLUSH + 4))


Lines = list[bytes]


def line_of(content: object) -> bytes:
    text = json.dumps(content).encode()
    return b"%08x %b" % (zlib.crc32(text), text)


def flipped_digit(lines: Lines) -> Lines:
    return [lines[0], lines[1].replace(b'"loss":[0.0]', b'"loss":[0.5]'), *lines[2:]]


DAMAGES: dict[str, Callable[[Lines], Lines]] = {
    "header of another kind": lambda lines: [line_of([1]), *lines[1:]],
    "damaged header": lambda lines: [lines[0][:-3] + b"9}", *lines[1:]],
    "damaged line": lambda lines: [lines[0], lines[1][:20], *lines[2:]],
    "damaged checksum": lambda lines: [lines[0], b"00000000" + lines[1][8:], *lines[2:]],
    "a digit of a loss": flipped_digit,
    "line of another kind": lambda lines: [lines[0], line_of(3), *lines[2:]],
    "line without a column": lambda lines: [lines[0], line_of({"id": [0]}), *lines[2:]],
    "line of unequal columns": lambda lines: [lines[0], line_of(rows(0, loss=[1.0, 2.0])), *lines[2:]],
    "line of no rows": lambda lines: [lines[0], line_of(rows()), *lines[2:]],
    "line of other types": lambda lines: [lines[0], line_of(rows(0, loss=["low"])), *lines[2:]],
    "line of no text": lambda lines: [lines[0], b"\xff\x00", *lines[2:]],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_journal_is_told_by_name(tmp_path: Path, damage: str) -> None:
    journal = writer(tmp_path)
    journal.append(rows(0))
    journal.append(rows(1))
    (file,) = journals(tmp_path)
    file.write_bytes(b"\n".join(DAMAGES[damage](file.read_bytes().split(b"\n"))))
    with pytest.raises(StateError, match=rf"{FIRST} .*: restore a copy$"):
        ids(tmp_path)
    with pytest.raises(StateError, match=rf"{FIRST} .*(is damaged in line|does not hold rows of this table)"):
        writer(tmp_path)


def test_a_damaged_last_line_may_be_deleted(tmp_path: Path) -> None:
    journal = writer(tmp_path)
    journal.append(rows(0))
    journal.append(rows(1))
    (file,) = journals(tmp_path)
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([*lines[:2], lines[2].replace(b"0.5", b"0.6"), b""]))
    with pytest.raises(StateError, match="is damaged in line 3: restore a copy, or delete this line, its last"):
        ids(tmp_path)
    file.write_bytes(b"\n".join([*lines[:2], b""]))
    assert ids(tmp_path) == [0]
