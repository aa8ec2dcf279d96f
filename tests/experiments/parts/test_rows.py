from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.parts.rows import load_rows, save_rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "rows.parquet"


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.5, np.inf], "b": ["x", "y"]})


def test_saved_rows_come_back_and_nothing_lies_beside_them(file: Path, frame: pd.DataFrame) -> None:
    save_rows(frame, file, "these settings")
    loaded = load_rows(file, "these settings")
    assert loaded is not None
    pd.testing.assert_frame_equal(loaded, frame)
    assert list(file.parent.iterdir()) == [file]


def test_rows_that_are_missing_damaged_or_made_otherwise_are_none(file: Path, frame: pd.DataFrame) -> None:
    assert load_rows(file) is None
    save_rows(frame, file)
    assert load_rows(file) is not None
    assert load_rows(file, "other settings") is None
    file.write_bytes(file.read_bytes()[:100])
    assert load_rows(file) is None
