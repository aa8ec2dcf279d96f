"""The table of true errors: its networks, its trainings, and what an interruption leaves."""

import json
from pathlib import Path

import pandas as pd
import pytest

from experiments.parts.networks import networks_of
from experiments.truth import CHOSEN_BLOCKS, STAGES, Settings, Training, main, name_of, trainings_of

SPACE = Settings().space


def test_each_network_comes_once() -> None:
    networks_ND = networks_of(SPACE)
    assert len(networks_ND) == (1 + 2 + 4) ** len(STAGES) == 343
    assert len({name_of(row) for row in networks_ND}) == 343
    assert all(Training(name_of(row), 0).architecture == tuple(row) for row in networks_ND)


def test_trainings_differ_in_seed_and_order() -> None:
    trainings = trainings_of(Settings(), 2)
    assert len({each.seed for each in trainings}) == len(trainings) == 686
    first, second = trainings[:343], trainings[343:]
    assert {each.arch for each in first} == {each.arch for each in second}
    assert [each.arch for each in first] != [each.arch for each in second]


@pytest.mark.slow
def test_only_what_is_missing_is_trained(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = networks_of(SPACE)[:2]
    monkeypatch.setattr("experiments.truth.networks_of", lambda space: small)
    out, table = tmp_path / "out", tmp_path / "table.parquet"
    flags = ["--images-folder", str(images), "--out", str(out), "--table", str(table), "--jobs", "1", "--width", "0.2"]
    flags += ["--images", "256", "--epochs", "1", "--repeats", "1"]
    done = Training("0" * CHOSEN_BLOCKS * len(STAGES), 0)
    done.file(out).parent.mkdir(parents=True)
    done.file(out).write_text(json.dumps({"error": 12.5, "seconds": 1.0}))
    assert main(flags) == 0
    rows = pd.read_parquet(table)
    assert rows["arch"].tolist() == [name_of(row) for row in small]
    assert rows["error_0"].iloc[0] == 12.5
    assert 0 < rows["error_0"].iloc[1] <= 100
    assert (rows["flops"] == Settings(width=0.2).space.costs["flops"](small)).all()
    before = table.read_bytes()
    elsewhere = [str(tmp_path / "elsewhere") if each == str(out) else each for each in flags]
    monkeypatch.setattr("experiments.truth.train", None)  # what the table has is not trained again
    assert main(elsewhere) == 0
    assert table.read_bytes() == before
    assert main([*flags[:-4], "--epochs", "2", "--repeats", "1"]) == 2  # other settings
    assert "epochs 1, now 2" in capsys.readouterr().err
    assert main([*elsewhere[:-4], "--epochs", "2", "--repeats", "1", "--out", str(tmp_path / "third")]) == 2
    assert "was made with other settings" in capsys.readouterr().err
