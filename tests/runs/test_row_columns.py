"""Columns of a record that stay compact or in their files are the same to whoever looks at them."""

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multinas_ray.errors import StateError
from multinas_ray.runs import architectures_of, load_run
from multinas_ray.runs.parts import LEFT_IN_FILES, PartsTable
from multinas_ray.runs.row_columns import FileRows
from multinas_ray.storage import resolve

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int64(), nullable=False),
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("architecture", pa.list_(pa.int16()), nullable=False),
        pa.field("architecture_readable", pa.string(), nullable=False),
        pa.field("loss", pa.float64(), nullable=False),
        pa.field("reused_id", pa.int64()),
        pa.field("timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("probs", pa.list_(pa.list_(pa.float64())), nullable=False),
    ]
)
ROWS = 23


def rows_of(first, stop, *, architecture=lambda n: [n, 3 - n, 300 * (n == 9)], reused=lambda n: None):
    numbers = range(first, stop)
    columns = {
        "id": [100 - n for n in numbers],
        "trial_id": [f"trial{n % 3}" for n in numbers],
        "architecture": [architecture(n) for n in numbers],
        "architecture_readable": [f"text {n}" for n in numbers],
        "loss": [np.inf if n == 4 else n / 7 for n in numbers],
        "reused_id": [reused(n) for n in numbers],
        "timestamp": [1_700_000_000_000_000 + n for n in numbers],
        "probs": [[[n / 30, 1 - n / 30], [1.0]] for n in numbers],
    }
    return pa.table(columns, schema=SCHEMA)


def parts_of(folder, tables, last=None):
    """A table whose parts lie in files, with rows that are in none."""
    found = PartsTable(SCHEMA, 4)
    for number, table in enumerate(tables):
        file = resolve(folder / f"part-{number}.parquet")
        pq.write_table(table, file.path)
        found.add(file, table)
    if last is not None:
        found.add_last(last)
    return found


def plain(table, order):
    """The same frame by pandas alone."""
    frame = table.sort_by([(name.lstrip("-"), "descending" if name[0] == "-" else "ascending") for name in order])
    found = frame.to_pandas()
    found["architecture"] = pd.Series([tuple(row) for row in frame["architecture"].to_pylist()], dtype=object)
    return found


def assert_equal(found, wanted):
    assert list(found.columns) == list(wanted.columns)
    for name in found:
        if name == "probs":
            for one, other in zip(found[name], wanted[name], strict=True):
                assert [list(row) for row in one] == [list(row) for row in other]
        else:
            assert found[name].tolist() == wanted[name].tolist() or name == "reused_id"
            if name not in ("architecture", "architecture_readable"):
                pd.testing.assert_series_equal(found[name], wanted[name])


@pytest.mark.parametrize("order", [["id"], ["-id"], ["loss", "-id"]])
@pytest.mark.parametrize("reused", [lambda n: None, lambda n: n, lambda n: n if n % 2 else None])
def test_frames_are_those_that_pandas_makes_of_the_whole_table(tmp_path, order, reused):
    tables = [rows_of(first, stop, reused=reused) for first, stop in ((0, 5), (5, 6), (6, 20), (20, ROWS))]
    found = parts_of(tmp_path, tables[:3], last=tables[3]).frame(order)
    wanted = plain(pa.concat_tables(tables), order)
    assert_equal(found, wanted)
    is_some = found["loss"] > 1.0
    assert_equal(found[is_some].reset_index(drop=True), wanted[is_some].reset_index(drop=True))
    assert_equal(found.iloc[[7, 2, 2]].reset_index(drop=True), wanted.iloc[[7, 2, 2]].reset_index(drop=True))
    joined = pd.concat([found.iloc[3:6], found.iloc[:2]], ignore_index=True)
    assert_equal(joined, pd.concat([wanted.iloc[3:6], wanted.iloc[:2]], ignore_index=True))
    assert found["architecture"].nunique() == wanted["architecture"].nunique() == ROWS
    assert (found["architecture_readable"] == "text 3").tolist() == (
        wanted["architecture_readable"] == "text 3"
    ).tolist()
    assert found.iloc[4].to_dict().keys() == wanted.iloc[4].to_dict().keys()
    again = pickle.loads(pickle.dumps(found))
    assert_equal(again, wanted)
    np.testing.assert_array_equal(architectures_of(found["architecture"]), np.array(wanted["architecture"].tolist()))
    assert pa.array(found["architecture"]).to_pylist() == [list(row) for row in wanted["architecture"]]


def test_architectures_of_several_lengths_are_read_as_they_are(tmp_path):
    tables = [rows_of(0, 5), rows_of(5, 8, architecture=lambda n: [1] * (n % 3)), rows_of(8, 12)]
    assert_equal(parts_of(tmp_path, tables).frame(["-id"]), plain(pa.concat_tables(tables), ["-id"]))


def test_a_table_without_rows_has_its_columns(tmp_path):
    frame = PartsTable(SCHEMA, 0).frame(["id"])
    assert list(frame.columns) == SCHEMA.names
    assert frame.empty
    assert frame["timestamp"].dtype == plain(SCHEMA.empty_table(), ["id"])["timestamp"].dtype


def test_missing_values_and_changed_ones(tmp_path):
    frame = parts_of(tmp_path, [rows_of(0, 5)]).frame()
    longer = frame.reindex([3, 7])
    assert longer["architecture"].isna().tolist() == [False, True]
    assert longer["architecture"].tolist() == [(3, 0, 0), None]
    frame.loc[1, "architecture_readable"] = "another"
    assert frame["architecture_readable"].tolist() == ["text 0", "another", "text 2", "text 3", "text 4"]
    frame.loc[frame["id"] > 98, "architecture"] = pd.Series([(7,), (8,)])
    assert frame["architecture"].tolist() == [(7,), (8,), (2, 1, 0), (3, 0, 0), (4, -1, 0)]


def test_frames_are_equal_where_all_values_are(tmp_path):
    def frame(name, probs):
        (tmp_path / name).mkdir()
        table = rows_of(0, ROWS)
        column = pa.array([probs(n) for n in range(ROWS)], type=SCHEMA.field("probs").type)
        table = table.set_column(SCHEMA.get_field_index("probs"), SCHEMA.field("probs"), column)
        return parts_of(tmp_path / name, [table]).frame()

    def given(n):
        return [[n / 30, 1 - n / 30], [1.0]]

    first = frame("first", given)
    assert first.equals(frame("same", given))
    assert first.equals(first.copy())
    assert not first.equals(frame("other-value", lambda n: [[n / 30, 0.5], [1.0]] if n == 7 else given(n)))
    assert not first.equals(frame("shorter", lambda n: given(n)[: 1 if n == 7 else 2]))
    assert not first.equals(first.assign(architecture=[(0, 0, 0)] * ROWS))
    assert (first["architecture"] == pd.Series([(3, 0, 0)] * ROWS)).sum() == 1


def test_texts_and_probabilities_are_read_when_they_are_looked_at(finished_run, monkeypatch):
    read: list[int] = []
    whole = FileRows._read_file

    def noted(rows, number):
        read.append(number)
        return whole(rows, number)

    monkeypatch.setattr(FileRows, "_read_file", noted)
    run = load_run(finished_run)
    newest = run.distributions[run.distributions["update"] == run.distributions["update"].max()]
    assert read == []
    assert [len(row) for row in newest["probs"]] == [6] * 4
    assert len(read) == 1
    for name in {*LEFT_IN_FILES} & {*run.evaluations, *run.distributions}:
        frame = run.evaluations if name in run.evaluations else run.distributions
        assert len(frame[name].tolist()) == len(frame)
    assert run.evaluations["architecture_readable"].map(lambda each: isinstance(each, str)).all()


def test_a_file_that_is_gone_is_told(tmp_path):
    frame = parts_of(tmp_path, [rows_of(0, 5)]).frame()
    (tmp_path / "part-0.parquet").unlink()
    assert frame["architecture"].tolist()[2] == (2, 1, 0)
    with pytest.raises(StateError, match=r"part-0\.parquet"):
        frame["probs"].tolist()


def test_a_row_takes_little_memory(tmp_path):
    """As objects, the values of a row take 1,500 bytes and more."""
    count, parts = 4096, 5
    tables = [rows_of(n * count, (n + 1) * count, architecture=lambda n: [n % 7] * 21) for n in range(parts)]
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        found = PartsTable(SCHEMA, count * parts)
        for number in range(parts):
            file = resolve(tmp_path / f"{number}.parquet")
            found.add(file, tables[number])
        tables.clear()
        frame = found.frame(["id"])
        taken = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - before
    finally:
        tracemalloc.stop()
    assert len(frame) == count * parts
    assert taken / len(frame) < 250
