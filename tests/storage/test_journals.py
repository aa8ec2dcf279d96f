import errno
import json
import math
import os

import pytest

from multinas_ray.errors import StateError, StorageError
from multinas_ray.runs import journal_header, load_run, tune_evaluations_schema, write_config
from multinas_ray.storage import JournaledWriter, TableWriter, list_files, resolve
from multinas_ray.storage import tables as tables_module
from multinas_ray.storage.journals import ROWS_PER_FLUSH
from tests.support.stores import place_in_memory


def row(number, **changes):
    return {
        "id": number,
        "round": number // 4,
        "block": -1,
        "trial_id": f"t{number}",
        "source": 1,
        "architecture": (1, 2),
        "architecture_readable": "a b",
        "loss": 0.5 * number,
        "accuracy": None,
        "params": 3.0,
        "reused_id": None,
        "complexity": None,
        "log_q": -1.25,
        "drawn_at_update": 0,
        "tell_order": number,
        "update": number // 4 + 1,
        "wall_time_seconds": 0.1,
        "timestamp": 1_700_000_000_123_456,
        **changes,
    }


@pytest.fixture
def run(tmp_path):
    write_config(tmp_path, {"optimizer": {}})
    return tmp_path


def writer(run):
    folder = resolve(run).join("evaluations")
    return JournaledWriter(folder, tune_evaluations_schema(["params"]), journal_header(["params"]), {})


def ids(run):
    return load_run(run).evaluations["id"].tolist()


def files(run, kind):
    return sorted(path.name for path in (run / "evaluations").glob(f"*.{kind}"))


def test_a_row_is_readable_at_once_and_exactly(run):
    journal = writer(run)
    journal.append(row(0, loss=math.inf, complexity=math.nan, log_q=-0.1))
    journal.append(row(1, reused_id=0, loss=0.1 + 0.2))
    before = load_run(run).evaluations
    assert files(run, "jsonl") == ["journal-000000000000.jsonl"]
    assert files(run, "parquet") == []
    journal.flush()
    after = load_run(run).evaluations
    assert files(run, "jsonl") == []
    assert before.equals(after)
    assert before.dtypes.equals(after.dtypes)
    assert after["loss"].tolist() == [math.inf, 0.1 + 0.2]
    assert after["timestamp"][0].isoformat() == "2023-11-14T22:13:20.123456+00:00"
    assert after["architecture"].tolist() == [(1, 2), (1, 2)]


def test_rows_become_parquet_when_enough_have_come(run):
    journal = writer(run)
    for number in range(ROWS_PER_FLUSH + 3):
        journal.append(row(number))
    assert files(run, "jsonl") == [f"journal-{ROWS_PER_FLUSH:012d}.jsonl"]
    assert ids(run) == list(range(ROWS_PER_FLUSH + 3))
    lines = (run / "evaluations" / files(run, "jsonl")[0]).read_text().splitlines()
    assert len(lines) == 1 + 3


def test_a_killed_writers_rows_are_gathered_by_the_next(run):
    killed = writer(run)
    for number in range(5):
        killed.append(row(number))
    again = writer(run)
    assert files(run, "jsonl") == []
    again.append(row(5))
    assert ids(run) == [0, 1, 2, 3, 4, 5]


def test_a_line_cut_off_by_a_kill_does_not_count(run):
    killed = writer(run)
    killed.append(row(0))
    file = run / "evaluations" / files(run, "jsonl")[0]
    file.write_bytes(file.read_bytes() + json.dumps(row(1)).encode()[:-10])
    assert ids(run) == [0]
    writer(run)
    assert ids(run) == [0]


def test_a_kill_between_parquet_and_the_journals_end_counts_no_row_twice(run):
    killed = writer(run)
    killed.append(row(0))
    killed.append(row(1))
    rows = [row(0), row(1)]
    TableWriter(run / "evaluations", tune_evaluations_schema(["params"]), {}).append(
        {name: [each[name] for each in rows] for name in rows[0]}
    )
    assert ids(run) == [0, 1]
    again = writer(run)
    again.append(row(2))
    assert ids(run) == [0, 1, 2]


def test_missing_rows_are_told(run):
    journal = writer(run)
    journal.append(row(0))
    journal.flush()
    journal.append(row(1))
    next((run / "evaluations").glob("*.parquet")).unlink()
    with pytest.raises(
        StateError, match=r"journal-000000000001.jsonl begins .* missing \(rows 0 to 0\): restore a copy"
    ):
        load_run(run)


def test_a_second_writer_is_refused(run):
    first, second = writer(run), writer(run)
    first.append(row(0))
    with pytest.raises(StateError, match="another search records into the same folder"):
        second.append(row(1))
    assert ids(run) == [0]


def test_a_journal_of_another_version_is_refused(run):
    writer(run).append(row(0))
    file = run / "evaluations" / files(run, "jsonl")[0]
    file.write_text(file.read_text().replace('"schema_version":2', '"schema_version":3'))
    with pytest.raises(StateError, match="schema version 3"):
        load_run(run)


def test_an_object_store_is_written_without_a_journal():
    stored = place_in_memory("run")
    write_config(stored, {"optimizer": {}})
    journal = writer(stored)
    journal.append(row(0))
    journal.append(row(1))
    assert list_files(stored.join("evaluations"), "") == ["part-00000.parquet"]
    assert ids(stored) == [0, 1]


def test_a_row_that_an_object_store_refuses_is_not_kept(monkeypatch):
    stored = place_in_memory("run")
    write_config(stored, {"optimizer": {}})
    journal = writer(stored)
    journal.append(row(0))

    def refuse(*_, **__):
        raise StorageError("the store cannot be reached")

    with monkeypatch.context() as patches:
        patches.setattr(tables_module, "write_atomic", refuse)
        with pytest.raises(StorageError, match="cannot be reached"):
            journal.append(row(1))
    journal.append(row(2))
    assert ids(stored) == [0, 2]


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_that_does_not_fit_on_the_disk_leaves_nothing(run, monkeypatch):
    journal = writer(run)
    journal.append(row(0))
    write, calls = os.write, []

    def write_a_part(descriptor, data):
        calls.append(data)
        return write(descriptor, data[:50]) if len(calls) == 1 else full()

    with monkeypatch.context() as patches:
        patches.setattr(os, "write", write_a_part)
        with pytest.raises(StorageError, match=r"journal-000000000000.jsonl cannot be written \(the disk is full\)"):
            journal.append(row(1))
    journal.append(row(2))
    assert ids(run) == [0, 2]
    journal.flush()
    assert ids(run) == [0, 2]


def test_a_line_written_in_parts_is_one_row(run, monkeypatch):
    journal = writer(run)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:50]))
    journal.append(row(0))
    journal.append(row(1))
    assert ids(run) == [0, 1]


def test_half_a_line_that_cannot_be_cut_off_at_once_is_cut_off_before_the_next(run, monkeypatch):
    journal = writer(run)
    journal.append(row(0))
    with monkeypatch.context() as patches:
        patches.setattr(os, "fsync", full)
        patches.setattr(os, "ftruncate", full)
        with pytest.raises(StorageError, match="the disk is full"):
            journal.append(row(1))
        with pytest.raises(StorageError, match="the disk is full"):
            journal.append(row(2))
    journal.append(row(3))
    assert ids(run) == [0, 3]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_a_journal_that_cannot_be_begun_leaves_no_file_and_can_be_begun_again(run, monkeypatch, call):
    journal = writer(run)
    with monkeypatch.context() as patches:
        patches.setattr(os, call, full)
        with pytest.raises(StorageError, match="the disk is full"):
            journal.append(row(0))
    assert files(run, "jsonl") == []
    journal.append(row(1))
    assert ids(run) == [1]


def test_rows_that_cannot_become_parquet_yet_stay_in_the_journal(run, monkeypatch):
    journal = writer(run)
    with monkeypatch.context() as patches:
        patches.setattr(tables_module, "write_atomic", lambda *_, **__: refuse_as_full())
        for number in range(ROWS_PER_FLUSH + 3):
            journal.append(row(number))  # durable all the same
        assert files(run, "parquet") == []
        with pytest.raises(StorageError, match="the disk is full"):
            journal.flush()
    assert ids(run) == list(range(ROWS_PER_FLUSH + 3))
    journal.append(row(ROWS_PER_FLUSH + 3))
    assert files(run, "jsonl") == []
    assert ids(run) == list(range(ROWS_PER_FLUSH + 4))


def refuse_as_full():
    raise StorageError(errno.ENOSPC, "the disk is full")


def damaged_header(lines):
    return [b"[1]", *lines[1:]]


def damaged_line(lines):
    return [lines[0], lines[1][:20], *lines[2:]]


def line_of_another_kind(lines):
    return [lines[0], b"3", *lines[2:]]


def line_without_a_column(lines):
    return [lines[0], lines[1].replace(b'"loss"', b'"lost"'), *lines[2:]]


def line_of_other_types(lines):
    return [lines[0], lines[1].replace(b'"loss":0.0', b'"loss":"low"'), *lines[2:]]


def line_of_no_text(lines):
    return [lines[0], b"\xff\x00", *lines[2:]]


@pytest.mark.parametrize(
    "damage",
    [
        damaged_header,
        damaged_line,
        line_of_another_kind,
        line_without_a_column,
        line_of_other_types,
        line_of_no_text,
    ],
)
def test_a_damaged_journal_is_told_by_name(run, damage):
    journal = writer(run)
    journal.append(row(0))
    journal.append(row(1))
    file = run / "evaluations" / files(run, "jsonl")[0]
    file.write_bytes(b"\n".join(damage(file.read_bytes().split(b"\n"))))
    with pytest.raises(StateError, match=r"journal-000000000000.jsonl .*: restore a copy"):
        load_run(run)
    with pytest.raises(StateError, match=r"evaluations.* (is not a readable journal|does not hold rows of this table)"):
        writer(run)
