import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from torch import nn

from multinas_ray.__main__ import main
from multinas_ray.commands.experiment import keep_latency_table, with_latency
from multinas_ray.data import DataConfig
from multinas_ray.latency import LatencyTable, ModelLatencyTable, models, profiling
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import write_config
from multinas_ray.spaces import Space, digits_space
from multinas_ray.supernets import WeightTraining
from tests.latency.test_models import NOW, known_space

MINE = """
from multinas_ray.spaces import Block, ConvLayer, Head, NetworkSpace, Position, mbconv, skip

def small():
    stem = Block("stem", (ConvLayer(1, 8, 3),))
    places = [Position(name, (mbconv(8, 8, 3, 2), mbconv(8, 8, 5, 4), skip())) for name in "abc"]
    return NetworkSpace("small", (1, 6, 6), stem, places, Head(8, 3))

def nothing():
    return 3
"""


def search(space: Space, folder: Path) -> OneShotSearchConfig:
    return OneShotSearchConfig(
        space=space,
        data=DataConfig(source="digits"),
        coefficients=(0.0, 0.3),
        storage_path=str(folder),
        name="small",
        warmup_rounds=2,
        search_rounds=12,
        training=WeightTraining(batch_size=64, validation_batch_size=128, norm_batch_size=32),
    )


@pytest.fixture
def profile(monkeypatch, tmp_path):
    """Runs `profile` where a module takes a millisecond for each parameter, and `noise` times as much at random."""
    rng = np.random.default_rng(0)
    noises: list[float] = []

    def seconds(module: nn.Module) -> float:
        return 1e-3 * (1 + sum(each.numel() for each in module.parameters())) * (1 + noises[0] * rng.random())

    monkeypatch.setattr(profiling, "timer_of", lambda settings: lambda modules, images: [seconds(m) for m in modules])
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_profiled_space.py").write_text(MINE)
    monkeypatch.delitem(sys.modules, "my_profiled_space", raising=False)

    def run(*argv, noise=0.0):
        noises[:] = [noise]
        return main(["profile", *argv])

    return run


def test_a_space_of_ones_own_is_measured_compared_and_drawn(profile, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    assert profile("--space", "my_profiled_space.py:small", "--output", "new/mine.parquet", "--batch-size", "3") == 0
    table = LatencyTable.read(tmp_path / "new/mine.parquet")
    assert (table.conditions.batch_size, table.conditions.space_name) == (3, "small")
    assert [row.block for row in table.rows] == ["stem", "mb2_k3", "mb4_k5", "skip", "head"]
    checked = pq.read_table(tmp_path / "new/mine_validation.parquet").to_pandas()
    assert len(checked) == 27  # all networks there are
    assert (tmp_path / "new/mine_validation.png").read_bytes().startswith(b"\x89PNG")
    out = capsys.readouterr().out
    assert "The table predicts networks well: Kendall's tau 1.000" in out
    assert f"Table: {tmp_path}/new/mine.parquet" in out.splitlines()
    (row,) = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│ b")]
    slowest = f"{table.rows[2].median_ms:.3f}"
    assert [cell.strip() for cell in row] == ["b", "8x6x6", "3", "skip", "1.000", "mb4_k5", slowest]


def test_the_modules_of_a_model_are_measured_and_searched_by(profile, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr(models, "_clock_of", lambda settings: lambda: NOW[0])
    limits = ("--least-passes", "2", "--most-passes", "2")
    assert profile("--space", "tests.latency.test_models:known_space", *limits, "--output", "mine.parquet") == 0
    checked = pq.read_table(tmp_path / "mine_validation.parquet").to_pandas()
    assert checked["predicted_ms"].tolist() == pytest.approx(checked["measured_ms"].tolist())
    assert (tmp_path / "mine_validation.png").exists()
    out = capsys.readouterr().out
    assert "The table predicts networks well: Kendall's tau 1.000" in out
    (row,) = [line.split("│")[1:-1] for line in out.splitlines() if line.startswith("│ depth")]
    assert [cell.strip() for cell in row] == ["depth", "3", "0", "0.000", "2", "60000.000"]
    config = with_latency(search(known_space(), tmp_path), "mine.parquet")
    assert config.costs["latency"].maximum == pytest.approx(1000 * (9 + 60 + 5))
    keep_latency_table("mine.parquet", str(tmp_path))
    assert ModelLatencyTable.read(tmp_path / "latency.parquet").cost(config.space)


def test_noise_is_not_laid_to_the_table(profile, capsys):
    assert (
        profile("--space", "my_profiled_space.py:small", "--least-passes", "2", "--max-seconds", "0", noise=30.0) == 3
    )
    assert "This machine is too noisy to judge the table" in capsys.readouterr().out


def test_a_run_gets_the_table_of_its_space(profile, tmp_path):
    config = search(digits_space(width_multiplier=0.5), tmp_path)
    write_config(config.run_path, config.to_dict())
    profile("--run", f"{tmp_path}/small/", "--least-passes", "2")
    assert LatencyTable.read(tmp_path / "small" / "latency.parquet").missing(config.space) == []
    assert (tmp_path / "small" / "latency_validation.parquet").exists()


def test_a_shipped_space_by_name_goes_to_the_default_file(profile, tmp_path):
    profile("--space", "digits", "--least-passes", "2")
    assert LatencyTable.read(tmp_path / "latency.parquet").missing(digits_space()) == []
    assert LatencyTable.read(tmp_path / "latency.parquet").conditions.space_fingerprint == digits_space().fingerprint


def test_an_impossible_file_is_told_before_minutes_of_measuring(profile, monkeypatch, capsys):
    monkeypatch.setattr("multinas_ray.latency.profiling.profile_space", lambda *args, **kwargs: pytest.fail("measured"))
    assert profile("--space", "digits", "--output", "my_profiled_space.py/x.parquet") == 2
    assert "my_profiled_space.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (
            ["--space", "imagenet"],
            "--space must be one of digits, cifar10_mobile, nas_bench_macro, imagenet_mobile, MODULE:",
        ),
        (["--space", "my_profiled_space.py:nothing"], "must give a NetworkSpace or a ModelSpace, got int"),
        (["--space", "my_profiled_space.py:absent"], "defines no 'absent'"),
        (["--space", "digits", "--output", "x.csv"], "end in .parquet, got 'x.csv'"),
        (["--space", "digits", "--import", "x.py"], "--import needs --run"),
        (["--space", "digits", "--least-passes", "1"], "least_passes must be at least 2, got 1"),
        (["--run", "absent"], "absent"),
    ],
)
def test_what_cannot_be_measured_is_one_line(profile, capsys, argv, text):
    assert profile(*argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("multinas-ray: error: ")
    assert text in err
    assert len(err.splitlines()) == 1


def test_a_kit_is_written_in_place_of_a_measurement(profile, tmp_path, capsys):
    assert profile("--space", "my_profiled_space.py:small", "--make-kit", "kit", "--batch-size", "3") == 0
    assert json.loads((tmp_path / "kit" / "kit.json").read_text())["input_shape"] == [3, 1, 6, 6]
    assert not (tmp_path / "latency.parquet").exists()
    assert f"Copy {tmp_path}/kit to the device" in capsys.readouterr().out
    assert profile("--space", "digits", "--make-kit", "kit", "--output", "x.parquet") == 2
    assert "--output must be left out with --make-kit" in capsys.readouterr().err
    assert profile("--space", "tests.latency.test_models:known_space", "--make-kit", "other") == 2
    assert "--make-kit must have a space of blocks, 'of_known_time' has none: run" in capsys.readouterr().err
