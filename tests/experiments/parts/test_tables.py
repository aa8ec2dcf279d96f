from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from experiments.parts import tables
from experiments.parts.tables import Table, load_table
from multinas_ray.errors import DataError


def test_reference_point_is_the_errors_quantile_and_the_largest_cost(table: Table) -> None:
    errors, costs = table.points.T
    assert (errors > table.reference[0]).mean() == pytest.approx(0.1, abs=0.02)
    assert costs.max() == table.reference[1] == 1.0


def test_table_finds_each_architecture_whatever_the_order_of_its_file(table: Table) -> None:
    np.testing.assert_array_equal(table.rows(table.architectures), np.arange(len(table)))


@pytest.mark.parametrize("break_it", [lambda a: a[1:], lambda a: np.vstack([a[1:], a[1]]), lambda a: a + 1])
def test_table_that_is_not_the_whole_space_is_refused(table: Table, break_it) -> None:
    broken = break_it(table.architectures)
    with pytest.raises(DataError, match=r"must hold|must be of the space"):
        Table("t", "T", table.num_categories, broken, np.ones(len(broken)), np.ones(len(broken)))


def test_load_table_reads_error_and_cost_and_names_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tables.Source(
        file="t.parquet", title="T", num_categories=(2, 2), accuracy="acc", cost="params", cost_title="parameters"
    )
    monkeypatch.setitem(tables.SOURCES, "t", source)
    with pytest.raises(DataError, match=r"MULTINAS_DATA"):
        load_table("t", tmp_path)
    columns = {"arch": ["11", "00", "01", "10"], "acc": [90.0, 60.0, 70.0, 80.0], "params": [4, 1, 2, 3]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = load_table("t", tmp_path)
    np.testing.assert_allclose(table.points, [[40, 0.25], [30, 0.5], [20, 0.75], [10, 1.0]])
    np.testing.assert_allclose(table.losses, [0.4, 0.3, 0.2, 0.1])
    pq.write_table(pa.table({"arch": ["1"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="is not the table t"):
        load_table("t", tmp_path)
