import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multinas_ray.errors import ConfigError, StateError, StorageError, UnreadableError
from multinas_ray.storage import (
    TABLE_KEY,
    VERSION_KEY,
    RowGroupReader,
    TableWriter,
    check_form,
    exists,
    list_files,
    make_table,
    read_bytes,
    read_parquet,
    tables,
    write_atomic,
    write_parquet,
    write_row_groups,
)
from multinas_ray.storage.parquet import count_rows, encode_parquet
from tests.storage.conftest import limited
from tests.support.calls import calls_of
from tests.support.stores import place_in_memory

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int32(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("choices", pa.list_(pa.int16()), nullable=False),
    ],
    metadata={"table": "test"},
)


def columns(first, count):
    ids = np.arange(first, first + count)
    return {"id": ids, "value": ids / 7, "choices": np.stack([ids % 5, ids % 3], axis=1)}


def ids_on_disk(folder):
    # one read of the whole file: pq.read_table(path) opens it twice and may meet two versions
    contents = [read_bytes(folder / name) for name in list_files(folder, ".parquet")]
    parts = [pq.read_table(pa.BufferReader(content)) for content in contents]
    return pa.concat_tables(parts)["id"].to_pylist() if parts else []


def part_sizes(folder):
    return [pq.read_metadata(folder / name).num_rows for name in list_files(folder, ".parquet")]


def test_every_append_is_on_disk_when_it_returns(tmp_path):
    writer = TableWriter(tmp_path, SCHEMA, {}, rows_per_part=10)
    for turn in range(12):
        writer.append(columns(3 * turn, 3))
        assert ids_on_disk(tmp_path) == list(range(3 * turn + 3))


def test_parts_are_sealed_and_hold_no_row_twice(tmp_path):
    writer = TableWriter(tmp_path, SCHEMA, {}, rows_per_part=10)
    for turn in range(12):
        writer.append(columns(3 * turn, 3))
    assert part_sizes(tmp_path) == [12, 12, 12]
    sealed = (tmp_path / "part-00000.parquet").read_bytes()
    writer.append(columns(36, 3))
    assert (tmp_path / "part-00000.parquet").read_bytes() == sealed
    assert part_sizes(tmp_path) == [12, 12, 12, 3]


def test_a_new_writer_goes_on_with_the_next_part(tmp_path):
    TableWriter(tmp_path, SCHEMA, {}, rows_per_part=10).append(columns(0, 3))
    before = (tmp_path / "part-00000.parquet").read_bytes()
    second = TableWriter(tmp_path, SCHEMA, {}, rows_per_part=10)
    second.append(columns(3, 3))
    second.append(columns(6, 3))
    assert (tmp_path / "part-00000.parquet").read_bytes() == before
    assert part_sizes(tmp_path) == [3, 6]
    assert ids_on_disk(tmp_path) == list(range(9))


def test_other_files_in_the_folder_do_not_disturb(tmp_path):
    (tmp_path / ".part-00007.parquet.1-ab.tmp").write_bytes(b"half a file")
    (tmp_path / "part-00004.parquet.bak").write_bytes(b"")
    TableWriter(tmp_path, SCHEMA, {}).append(columns(0, 2))
    assert ids_on_disk(tmp_path) == [0, 1]
    assert (tmp_path / "part-00000.parquet").exists()
    assert len(pd.read_parquet(tmp_path / "part-00000.parquet")) == 2


def test_pandas_and_datasets_read_the_folder(tmp_path):
    writer = TableWriter(tmp_path, SCHEMA, {}, rows_per_part=10)
    for turn in range(9):
        writer.append(columns(3 * turn, 3))
    (tmp_path / ".part-00009.parquet.1-ab.tmp").write_bytes(b"half a file")
    frame = pd.read_parquet(tmp_path)
    np.testing.assert_array_equal(frame["id"], np.arange(27))
    np.testing.assert_array_equal(frame["value"], np.arange(27) / 7)
    np.testing.assert_array_equal(
        np.stack(frame["choices"].tolist()), np.stack([np.arange(27) % 5, np.arange(27) % 3], 1)
    )


def test_metadata_is_in_every_part_beside_the_schemas_own(tmp_path):
    writer = TableWriter(tmp_path, SCHEMA, {"config": '{"seed": 1}'}, rows_per_part=2)
    writer.append(columns(0, 3))
    writer.append(columns(3, 1))
    for name in ("part-00000.parquet", "part-00001.parquet"):
        metadata = pq.read_schema(tmp_path / name).metadata
        assert metadata[b"config"] == b'{"seed": 1}'
        assert metadata[b"table"] == b"test"


def test_buffered_rows_wait_for_the_flush(tmp_path):
    writer = TableWriter(tmp_path, SCHEMA, {})
    writer.buffer(columns(0, 2))
    writer.buffer(columns(2, 2))
    assert ids_on_disk(tmp_path) == []
    assert writer.num_buffered_rows == 4
    writer.flush()
    assert ids_on_disk(tmp_path) == [0, 1, 2, 3]
    assert writer.num_buffered_rows == 0
    written = (tmp_path / "part-00000.parquet").stat().st_mtime_ns
    writer.flush()
    assert (tmp_path / "part-00000.parquet").stat().st_mtime_ns == written


def test_append_writes_what_was_buffered_before_it(tmp_path):
    writer = TableWriter(tmp_path, SCHEMA, {})
    writer.buffer(columns(0, 2))
    writer.append(columns(2, 1))
    writer.flush()
    assert ids_on_disk(tmp_path) == [0, 1, 2]


def test_many_small_appends_keep_their_order_and_values(tmp_path):
    writer = TableWriter(tmp_path, SCHEMA, {}, rows_per_part=150)
    for turn in range(200):
        writer.append(columns(turn, 1))
    frame = pd.read_parquet(tmp_path)
    np.testing.assert_array_equal(frame["id"], np.arange(200))
    np.testing.assert_array_equal(frame["value"], np.arange(200) / 7)
    assert part_sizes(tmp_path) == [150, 50]


def test_a_failed_append_can_be_repeated(tmp_path, monkeypatch):
    writer = TableWriter(tmp_path, SCHEMA, {})
    writer.append(columns(0, 2))

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="the disk is full"):
            writer.append(columns(2, 2))
        writer.buffer(columns(2, 1))
        with pytest.raises(StorageError, match="the disk is full"):
            writer.flush()
        assert writer.num_buffered_rows == 1
    writer.append(columns(3, 2))
    assert ids_on_disk(tmp_path) == [0, 1, 2, 3, 4]


def test_a_second_writer_at_work_is_refused_and_loses_nothing(tmp_path):
    first, second = (TableWriter(tmp_path, SCHEMA, {}, rows_per_part=4) for _ in range(2))
    first.append(columns(0, 2))
    with pytest.raises(StateError, match=r"part-00000.parquet appeared .*another process writes into the same run"):
        second.append(columns(100, 2))
    first.append(columns(2, 2))
    assert ids_on_disk(tmp_path) == [0, 1, 2, 3]


def test_object_stores_work_alike():
    folder = place_in_memory("run/evaluations")
    writer = TableWriter(folder, SCHEMA, {}, rows_per_part=4)
    for turn in range(3):
        writer.append(columns(2 * turn, 2))
    assert list_files(folder, ".parquet") == ["part-00000.parquet", "part-00001.parquet"]
    content = [read_bytes(folder.join(name)) for name in list_files(folder, ".parquet")]
    ids = [row for part in content for row in pq.read_table(pa.BufferReader(part))["id"].to_pylist()]
    assert ids == list(range(6))
    TableWriter(folder, SCHEMA, {}).append(columns(6, 1))
    assert list_files(folder, ".parquet")[-1] == "part-00002.parquet"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"value": None}, r"missing \['value'\], unknown \[\]"),
        ({"extra": [1, 2]}, r"missing \[\], unknown \['extra'\]"),
        ({"id": [1, 2, 3]}, r"columns have different lengths: {'id': 3, 'value': 2"),
        ({"id": [1, None]}, "column 'id' has 1 empty values and allows none"),
        ({"id": np.array([1.5, 2.0])}, "column 'id' does not hold int32"),
        ({"id": np.array([1, 2**40])}, "column 'id' does not hold int32"),
        ({"choices": np.array([[40_000], [0]])}, r"column 'choices' does not hold list<.*int16"),
        ({"choices": [[1], ["a"]]}, "column 'choices' does not hold"),
        ({"value": ["a", "b"]}, "column 'value' does not hold double"),
    ],
)
def test_columns_that_do_not_fit_are_refused(tmp_path, changes, text):
    wrong = {name: value for name, value in {**columns(0, 2), **changes}.items() if value is not None}
    writer = TableWriter(tmp_path, SCHEMA, {})
    with pytest.raises(ConfigError, match=text):
        writer.append(wrong)
    with pytest.raises(ConfigError, match=text):
        writer.buffer(wrong)
    writer.append(columns(0, 2))
    assert ids_on_disk(tmp_path) == [0, 1]


def test_empty_values_and_nan_stay_apart(tmp_path):
    writer = TableWriter(tmp_path, SCHEMA, {})
    writer.append({"id": [0, 1], "value": [None, 1.0], "choices": [[], [1]]})
    writer.append({"id": [2, 3], "value": np.array([np.nan, np.inf]), "choices": [[], [1]]})
    column = pq.read_table(tmp_path / "part-00000.parquet")["value"]
    assert column.is_null().to_pylist() == [True, False, False, False]
    assert np.isnan(column[2].as_py())
    assert column[3].as_py() == float("inf")


def test_rows_per_part_must_be_positive(tmp_path):
    with pytest.raises(ConfigError, match="rows_per_part must be at least 1, not 0"):
        TableWriter(tmp_path, SCHEMA, {}, rows_per_part=0)


def test_a_whole_table_is_written_and_read_at_once(folder):
    table = make_table(SCHEMA, columns(0, 3), {"config": "{}"})
    write_parquet(folder.join("t.parquet"), table)
    back = read_parquet(folder.join("t.parquet"))
    assert back.equals(table)
    assert back.schema.metadata == {b"config": b"{}", b"table": b"test"}
    assert read_parquet(folder.join("t.parquet"), ["value"]).column_names == ["value"]
    with pytest.raises(ConfigError, match="columns do not match the table: missing"):
        make_table(SCHEMA, {"id": [1]})


def test_a_file_that_is_no_table_is_told(folder):
    write_atomic(folder.join("t"), b"PAR1 and no more")
    for read in (read_parquet, RowGroupReader, count_rows):
        with pytest.raises(StateError, match=r"t is not a readable Parquet file \(.*\): restore a copy") as raised:
            read(folder.join("t"))
        assert "\n" not in str(raised.value)
        with pytest.raises(UnreadableError, match=r"no cannot be read \(it is missing\): check the path"):
            read(folder.join("no"))


@pytest.mark.parametrize(
    ("kind", "names", "text"),
    [
        (b"toys", ("value", "name"), "these differ: their order: restore"),
        (b"\xff", ("name", "value"), "not a table of toys"),
        (b"toys", ("name", "values"), "these differ: value: int64, values: int64: restore"),
    ],
)
def test_a_table_of_another_form_is_told(kind, names, text):
    table = pa.table({name: [1] for name in names}).replace_schema_metadata({TABLE_KEY: kind, VERSION_KEY: b"1"})
    schema = pa.schema([(name, pa.int64()) for name in ("name", "value")])
    with pytest.raises(StateError, match=text):
        check_form(table, "toys", 1, schema, "toys.parquet", "make one")


def test_a_large_table_is_written_and_read_by_row_groups(folder):
    parts = [make_table(SCHEMA, columns(first, 5)) for first in (0, 5, 10)]
    with write_row_groups(folder.join("t"), SCHEMA) as writer:
        for part in parts:
            writer.write_table(part)
        assert not exists(folder.join("t"))
    reader = RowGroupReader(folder.join("t"))
    assert [reader.read(group, ["id"])["id"].to_pylist() for group in range(3)] == [
        part["id"].to_pylist() for part in parts
    ]
    reader.close()


def test_a_damaged_row_group_is_told(folder):
    with write_row_groups(folder.join("t"), pa.schema([("text", pa.string())])) as writer:
        writer.write_table(pa.table({"text": ["abc" * 1000]}))
    content = read_bytes(folder.join("t"))
    write_atomic(folder.join("t"), content[:4] + bytes(2000) + content[2004:])
    with pytest.raises(UnreadableError, match=r"t cannot be read \(.*\): check the"):
        RowGroupReader(folder.join("t")).read(0, ["text"])


def test_a_large_table_that_does_not_fit_leaves_nothing(tmp_path):
    def write():
        with write_row_groups(tmp_path / "t", pa.schema([("bytes", pa.binary())])) as writer:
            for _ in range(5):
                writer.write_table(pa.table({"bytes": [bytes(1_000_000)]}))

    with (
        limited(resource.RLIMIT_FSIZE, 2_500_000),
        pytest.raises(StorageError, match=r"t cannot be written \(the file is larger than this system allows\)"),
    ):
        write()
    assert list(tmp_path.iterdir()) == []


CHILD = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from test_tables import SCHEMA, columns, ids_on_disk
from multinas_ray.storage import TableWriter
folder = Path(sys.argv[1])
first = len(ids_on_disk(folder))
writer = TableWriter(folder, SCHEMA, {{}}, rows_per_part=40)
print("ready", flush=True)
while True:
    writer.append(columns(first, 3))
    first += 3
    print(first, flush=True)
"""


@pytest.mark.slow
def test_a_killed_writer_loses_and_repeats_nothing(tmp_path):
    """SIGKILL at random moments, six times on the same folder (seed 0); readers look on all the while."""
    generator = random.Random(0)
    script = CHILD.format(here=os.path.dirname(__file__))  # noqa: PTH120
    told = 0
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            stop = time.monotonic() + generator.uniform(0.0, 0.5)
            while time.monotonic() < stop:
                seen = ids_on_disk(tmp_path)
                assert seen == list(range(len(seen)))
            child.send_signal(signal.SIGKILL)
            lines = child.stdout.read().split("\n")
        # the last line may be cut; an append that was under way may be on disk, whole
        complete = [int(line) for line in lines[:-1]]
        told = max([told, *complete])
        on_disk = ids_on_disk(tmp_path)
        assert on_disk == list(range(len(on_disk)))
        assert len(on_disk) in (told, told + 3)
        told = len(on_disk)
    assert told > 100
    assert len(pd.read_parquet(tmp_path)) == told


def test_an_append_writes_one_file_of_few_pieces_however_many_came_before(tmp_path, monkeypatch):
    """What makes it fast: no folder is listed, nothing is read, and the time of a file grows with its pieces."""
    writer, written = TableWriter(tmp_path, SCHEMA, {}), list[tuple[int, bool]]()
    monkeypatch.setattr(tables, "list_files", lambda *_: pytest.fail("the folder was listed"))
    monkeypatch.setattr(tables, "write_atomic", lambda *_, **__: None)

    def noted(table, *, quickly):
        written.append((len(table.to_batches()), quickly))
        return encode_parquet(table, quickly=quickly)

    monkeypatch.setattr(tables, "encode_parquet", noted)
    for turn in range(300):
        writer.append(columns(16 * turn, 16))
    assert len(written) == 300
    assert max(pieces for pieces, _ in written) <= 32
    assert [turn for turn, (_, quickly) in enumerate(written) if not quickly] == [255]  # 4,096 rows: a part is sealed


@pytest.mark.parametrize("rows", [64, 2048])
def test_an_append_makes_as_many_calls_after_many_rows_as_after_few(tmp_path, rows):
    writer = TableWriter(tmp_path, SCHEMA, {})
    writer.append(columns(0, rows))
    assert calls_of(lambda: writer.append(columns(rows, 16))) < 600
