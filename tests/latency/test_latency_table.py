import dataclasses
import itertools
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from multinas_ray.errors import ConfigError, StateError, StorageError
from multinas_ray.latency import BlockLatency, LatencyConditions, LatencyTable, read_latency_table, read_proxyless_table
from multinas_ray.latency.table import blocks_of, describe_block
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, imagenet_mobile_space, mbconv, skip

CONDITIONS = LatencyConditions(device="a chip", batch_size=2, precision="float32", threads=1, clock="cpu")
KEEP = (mbconv(8, 8, 3, 2), mbconv(8, 8, 5, 2), skip())


def make_space(num_classes: int = 3) -> NetworkSpace:
    return NetworkSpace(
        "tiny",
        (3, 8, 8),
        Block("stem", (ConvLayer(3, 8, 3),)),
        (
            Position("a", KEEP),
            Position("b", (mbconv(8, 8, 3, 2, stride=2), mbconv(8, 8, 5, 2, stride=2))),
            Position("c", KEEP),
        ),
        Head(8, num_classes),
    )


SPACE = make_space()


def row_of(block, shape, milliseconds):
    return BlockLatency(
        block=block.name,
        description=describe_block(block),
        input_shape=shape,
        median_ms=milliseconds,
        mean_ms=milliseconds * 1.5,
        spread_ms=0.125,
        repeats=7,
    )


def make_table(space=SPACE):
    """Distinct powers of two: a sum tells which rows it holds, and how often."""
    distinct = {(describe_block(block), shape): (block, shape) for _, block, shape in blocks_of(space)}
    return LatencyTable(
        tuple(row_of(*each, float(2**index)) for index, each in enumerate(distinct.values())), CONDITIONS
    )


def test_a_network_costs_the_sum_of_its_blocks_stem_and_head_included():
    table = make_table()
    assert [(row.block, row.input_shape) for row in table.rows] == [
        ("stem", (3, 8, 8)),
        *((block.name, (8, 8, 8)) for block in KEEP),
        ("mb2_k3", (8, 8, 8)),
        ("mb2_k5", (8, 8, 8)),
        *((block.name, (8, 4, 4)) for block in KEEP),
        ("head", (8, 4, 4)),
    ]
    cost = table.cost(SPACE)
    assert (cost.name, cost.unit) == ("latency", "ms")
    at_a, at_b, at_c = [2, 4, 8], [16, 32], [64, 128, 256]
    rows = list(itertools.product(range(3), range(2), range(3)))
    expected = [1 + 512 + at_a[a] + at_b[b] + at_c[c] for a, b, c in rows]
    assert cost(rows).tolist() == expected


def test_a_file_gives_the_table_again(tmp_path):
    table = make_table()
    table.write(tmp_path / "latency.parquet")
    read = LatencyTable.read(tmp_path / "latency.parquet")
    assert read == table
    assert read_latency_table(str(tmp_path / "latency.parquet")) == table
    assert [file.name for file in tmp_path.iterdir()] == ["latency.parquet"]
    frame = pq.read_table(tmp_path / "latency.parquet").to_pandas()
    assert frame["median_ms"].tolist() == [float(2**index) for index in range(10)]


def test_a_file_is_written_to_and_read_from_a_uri(tmp_path):
    make_table().write(f"file://{tmp_path}/latency.parquet")
    assert LatencyTable.read(f"file://{tmp_path}/latency.parquet") == make_table()


def test_a_space_that_shares_all_blocks_can_use_the_table():
    smaller = dataclasses.replace(SPACE, name="smaller", positions=SPACE.positions[1:])
    assert smaller.fingerprint != SPACE.fingerprint
    assert make_table().cost(smaller)([[0, 2]]).tolist() == [1 + 512 + 16 + 256]


def test_a_missing_block_is_named_with_its_place_and_input():
    table = make_table()
    lacking = LatencyTable(tuple(row for row in table.rows if row.median_ms not in (8, 512)), CONDITIONS)
    assert lacking.missing(SPACE) == [("a", "skip", (8, 8, 8)), ("head", "head", (8, 4, 4))]
    with pytest.raises(
        ConfigError, match=r"'tiny', the one measured on a chip lacks 2: 'skip' at a on \(8, 8, 8\); 'head' at"
    ):
        lacking.cost(SPACE)


def test_a_block_that_only_looks_alike_is_missing():
    assert make_table().missing(make_space(num_classes=4)) == [("head", "head", (8, 4, 4))]
    relu = dataclasses.replace(SPACE, positions=(Position("a", (mbconv(8, 8, 3, 2, 2, activation="relu"),)),))
    assert [name for _, name, _ in make_table().missing(relu)] == ["mb2_k3"]


def test_only_the_first_few_of_many_missing_blocks_are_named():
    with pytest.raises(ConfigError, match=r"lacks 10: .* and 4 more"):
        LatencyTable((), CONDITIONS).cost(SPACE)


def test_a_block_stands_once():
    row = row_of(skip(), (8, 8, 8), 1.0)
    with pytest.raises(ConfigError, match=r"'skip' on \(8, 8, 8\) occurs twice"):
        LatencyTable((row, dataclasses.replace(row, median_ms=2.0)), CONDITIONS)


@pytest.mark.parametrize(
    "change", [{"median_ms": -1.0}, {"mean_ms": float("nan")}, {"spread_ms": float("inf")}, {"repeats": 0}]
)
def test_times_are_times(change):
    with pytest.raises(ConfigError, match=r"must be finite|finite and at least 0"):
        dataclasses.replace(row_of(skip(), (8, 8, 8), 1.0), **change)


def with_metadata(table, key, value):
    return table.replace_schema_metadata({**table.schema.metadata, f"multinas_ray.{key}".encode(): value})


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda t: t.replace_schema_metadata(None), "is not a table of latency .it says it is 'nothing'"),
        (lambda t: with_metadata(t, "table", b"evaluations"), "it says it is 'evaluations'"),
        (lambda t: with_metadata(t, "schema_version", b"1"), "has version 1 .* reads version 2"),
        (lambda t: with_metadata(t, "conditions", b"{}"), "is damaged"),
        (lambda t: with_metadata(t, "conditions", b"{"), "is damaged"),
        (lambda t: t.drop_columns(["repeats"]), "these differ: .*repeats: int64"),
        (lambda t: t.append_column("more", pa.array([1] * 10)), "these differ: .*more: int64"),
        (lambda t: pa.concat_tables([t, t]), "is damaged .*occurs twice"),
    ],
)
def test_other_files_are_refused(tmp_path, spoil, text):
    file = tmp_path / "latency.parquet"
    pq.write_table(spoil(make_table().to_arrow()), file)
    with pytest.raises(StateError, match=text):
        LatencyTable.read(file)


def test_secrets_in_a_uri_are_refused_and_not_repeated():
    for use in (read_latency_table, make_table().write):
        with pytest.raises(ConfigError, match="would bring its secret into logs and results") as raised:
            use("s3://key:top/secret@bucket/latency.parquet")
        assert "top" not in str(raised.value)


def test_paths_that_are_no_files_are_told(tmp_path):
    (tmp_path / "text.parquet").write_text("not Parquet")
    for path in (tmp_path / "absent.parquet", tmp_path / "text.parquet"):
        with pytest.raises(StateError, match=f"{path} (cannot be read|is not a readable Parquet file)"):
            read_latency_table(path)
    with pytest.raises(StorageError, match=r"cannot be written .*there is no folder .*: create it, or check the path"):
        make_table().write(tmp_path / "absent" / "latency.parquet")


@pytest.fixture
def proxyless_file():
    return Path(os.environ["MULTINAS_DATA"]) / "proxyless_pixel1_latency_ms.parquet"


@pytest.mark.data
def test_proxyless_latencies_are_those_of_the_imagenet_space(proxyless_file):
    """Every block is there; sums of the file's own rows, taken by hand."""
    space, table = imagenet_mobile_space(), read_latency_table(proxyless_file)
    assert table == read_proxyless_table(proxyless_file)
    assert table.missing(space) == []
    by_key = dict(pq.read_table(proxyless_file, columns=["key", "mean_ms"]).to_pandas().itertuples(index=False))

    def foreign(*parts):
        (mean,) = [value for key, value in by_key.items() if all(part in key for part in parts)]
        return mean

    stem = foreign("Conv-input") + foreign("input:112x112x32", "expand:1", "kernel:3")
    head = foreign("Conv_1-input") + foreign("Logits")
    cost = table.cost(space)
    assert cost.base == pytest.approx(stem + head, rel=1e-12)
    choices = {variable.name: variable.choices[0] for variable in space.search_space.variables}
    choices |= {name: "skip" for name in choices if not name.endswith("_1")}
    choices |= {"stage3_1": "mb6_k7", "stage5_2": "mb3_k5"}
    firsts = ("output:56x56x24", "output:28x28x40", "14x14x80-output:14x14x96", "output:7x7x192", "output:7x7x320")
    expected = sum(foreign(shape, "expand:3", "kernel:3", "idskip:0") for shape in firsts)
    expected += foreign("output:14x14x80", "expand:6", "kernel:7", "stride:2")
    expected += foreign("7x7x192-output:7x7x192", "expand:3", "kernel:5")
    assert cost([space.search_space.encode(choices)])[0] - cost.base == pytest.approx(expected, rel=1e-12)


@pytest.mark.data
def test_what_proxyless_lacks_of_other_spaces_is_told(proxyless_file):
    table = read_proxyless_table(proxyless_file)
    assert table.missing(imagenet_mobile_space(num_classes=100)) == [("head", "head", (320, 7, 7))]
    lacking = table.missing(imagenet_mobile_space(squeeze_excitation=True))
    assert len(lacking) == 67
    assert lacking[:2] == [("stem", "stem", (3, 224, 224)), ("stage1_1", "mb3_k3_se", (16, 112, 112))]
    assert not any(name in ("skip", "head") for _, name, _ in lacking)


@pytest.mark.data
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda frame: frame.drop(columns="var"), "is not a table of latency"),
        (lambda frame: frame[frame["op"] != "Logits"], "is not ProxylessNAS's latency table .*Logits"),
        (lambda frame: frame.assign(input="7x7"), "is not ProxylessNAS's latency table"),
        (
            lambda frame: frame.assign(mean_ms=-1.0),
            "is not ProxylessNAS's latency table .*must be finite|finite and at least 0",
        ),
        (lambda frame: frame.assign(kernel=None), "is not ProxylessNAS's latency table .*must have kernel"),
    ],
)
def test_damaged_foreign_tables_are_refused(proxyless_file, tmp_path, change, text):
    frame = pq.read_table(proxyless_file).to_pandas()
    change(frame).to_parquet(tmp_path / "foreign.parquet")
    with pytest.raises(StateError, match=text):
        read_latency_table(tmp_path / "foreign.parquet")


def test_a_block_of_ones_own_is_looked_up_by_what_it_says_of_itself():
    mine = dataclasses.make_dataclass("Mine", [("width", int)], frozen=True, namespace={"to_dict": dataclasses.asdict})
    assert describe_block(mine(3)) == '{"width":3}'


def test_expected_latency_is_exact():
    cost = make_table().cost(SPACE)
    uniform_KDC = np.zeros((1, 3, 3))
    for d, count in enumerate(SPACE.search_space.num_categories):
        uniform_KDC[0, d, :count] = 1 / count
    mean = cost(SPACE.search_space.enumerate()).mean()
    np.testing.assert_allclose(cost.expectation(uniform_KDC), [mean], rtol=1e-12)
