"""Families whose files are damaged: what is taken away, and what verification tells."""

import shutil
from pathlib import Path

import pytest

from multinas_ray.errors import StateError
from multinas_ray.runs import load_run, verify_run
from multinas_ray.selection import drop_damaged_family, load_family
from multinas_ray.storage import read_parquet, resolve, write_parquet
from tests.inputs.records import chosen_record, config_of


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return chosen_record(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def run_path(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / whole.name))


@pytest.fixture
def space(tmp_path):
    return config_of(tmp_path).space


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def test_a_whole_family_stays(run_path, space):
    before = load_family(str(run_path)).architectures
    assert drop_damaged_family(str(run_path), space) is None
    assert load_family(str(run_path)).architectures.equals(before)


@pytest.mark.parametrize("damage", [cut, Path.unlink])
@pytest.mark.parametrize("name", ["candidates.parquet", "architectures.parquet", "weights"])
def test_a_damaged_one_is_named_and_taken_away(run_path, space, name, damage):
    file = run_path / (load_family(str(run_path)).architectures["weights_path"][1] if name == "weights" else name)
    damage(file)
    told = drop_damaged_family(str(run_path), space)
    assert told is not None
    assert file.name in told or "no chosen networks" in told
    assert load_run(run_path).architectures.empty
    with pytest.raises(StateError, match="no chosen networks"):
        load_family(str(run_path))


def test_verification_reads_the_candidates(run_path):
    assert verify_run(run_path).holds
    file = resolve(run_path).join("candidates.parquet")
    table = read_parquet(file)
    chosen = [not each for each in table["chosen"].to_pylist()]
    write_parquet(file, table.set_column(table.column_names.index("chosen"), table.schema.field("chosen"), [chosen]))
    (problem,) = verify_run(run_path).problems
    assert "are not the chosen ones of its candidates" in problem
    cut(run_path / "candidates.parquet")
    (problem,) = verify_run(run_path).problems
    assert "candidates.parquet is not a readable Parquet file" in problem
