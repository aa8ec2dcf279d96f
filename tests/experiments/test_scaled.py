"""A family against one network scaled in width: which networks, and what is trained."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.parts.rows import rows_of
from experiments.scaled import pieces
from experiments.scaled.__main__ import main
from experiments.scaled.networks import NETWORKS_FILE, WIDTHS, mobilenet, network_of, networks_of, widest_mobilenet
from experiments.scaled.options import METHODS, Recipe
from experiments.scaled.pieces import TRAININGS_FILE, Surroundings, carry_out, done_so_far
from experiments.scaled.report import table
from multinas_ray.commands.script import EXIT_ERROR
from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import ARCHITECTURES_FILE, architectures_schema, write_config
from multinas_ray.spaces import cifar10_mobile_space
from multinas_ray.storage import make_table, resolve, write_parquet

SPACE = cifar10_mobile_space(0.1, stem_stride=2, expansions=(2, 6), kernel_sizes=(3,))
TARGETS = (7e5, 1.2e6)
SMALL, LARGE = (0, 2, 0, 2, 2, 0, 2, 2, 2, 0, 2, 2, 0, 2, 2, 0), (0,) * 16


def write_run(folder: Path, architectures: tuple[tuple[int, ...], ...] = (SMALL, LARGE)) -> str:
    """A run as a finished search for targets in multiply-adds leaves it, as far as it is read here."""
    config = OneShotSearchConfig(
        space=SPACE,
        data=DataConfig(source="cifar10", path="/images"),
        name="found",
        storage_path=str(folder),
        targets=TARGETS,
        complexity="flops",
        warmup_rounds=1,
        search_rounds=1,
    )
    write_config(config.run_path, config.to_dict())
    schema, number = architectures_schema(list(SPACE.costs)), len(architectures)
    columns: dict[str, object] = {name: [None] * number for name in schema.names}
    columns |= {
        **{name: [float(cost([each])[0]) for each in architectures] for name, cost in SPACE.costs.items()},
        "network": list(range(number)),
        "origin": ["mode"] * number,
        "architecture": [list(each) for each in architectures],
        "architecture_readable": [SPACE.search_space.describe(each) for each in architectures],
        "complexity": [0.5] * number,
    }
    write_parquet(resolve(config.run_path).join(ARCHITECTURES_FILE), make_table(schema, columns))
    return config.run_path


@pytest.mark.parametrize("limit", [1.6e6, 7.6e6])
def test_no_wider_mobilenet_is_within_the_limit(limit: float) -> None:
    width = widest_mobilenet(limit)
    assert mobilenet(width).cost("flops") <= limit
    more = min(mobilenet(each).cost("flops") for each in WIDTHS.tolist() if each > width)
    assert more > limit or more == mobilenet(width).cost("flops")
    assert mobilenet(width).cost("flops") > 0.94 * limit


def test_mobilenet_has_its_17_blocks_of_expansion_6() -> None:
    space, architecture = mobilenet(0.35)
    assert len(architecture) == 16  # and one of expansion 1 in the stem
    assert space.search_space.describe(architecture) == " ".join(["mb6_k3"] * 16)


def test_a_limit_below_the_narrowest_is_refused() -> None:
    with pytest.raises(ConfigError, match="larger targets"):
        widest_mobilenet(1e4)


def test_each_method_has_a_network_within_each_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multinas_ray.selection.promising.DRAWS", 20)
    rows = networks_of(write_run(tmp_path), tuple(METHODS), tmp_path / "out")
    assert (rows["flops"] <= rows["limit"]).all()
    assert sorted(zip(rows["limit"], rows["method"], strict=True)) == sorted((t, m) for t in TARGETS for m in METHODS)
    for row in rows_of(rows):
        network = network_of(row, tmp_path / "out")
        assert network.cost("flops") == row["flops"]
    found = rows.loc[rows["method"] == "searched", "architecture"].map(json.loads).map(tuple).tolist()
    assert found == [SMALL, LARGE]


def test_networks_need_a_run_and_stay_those_of_one_run(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="--run DIR"):
        networks_of(None, ("searched",), out)
    run = write_run(tmp_path)
    first = networks_of(run, ("searched",), out)
    pd.testing.assert_frame_equal(networks_of(None, ("searched",), out), first)
    with pytest.raises(ConfigError, match="no networks of scaled yet"):
        networks_of(None, ("searched", "scaled"), out)
    assert len(networks_of(run, ("searched", "scaled"), out)) == 4
    with pytest.raises(ConfigError, match="other networks"):
        networks_of(write_run(tmp_path / "second", (LARGE, LARGE)), ("searched",), out)


def test_a_run_without_targets_in_multiply_adds_is_refused(tmp_path: Path) -> None:
    from tests.support.chosen_run import write_chosen_run

    with pytest.raises(ConfigError, match="--targets"):
        networks_of(write_chosen_run(tmp_path), ("searched",), tmp_path / "out")


def test_differences_are_paired_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    networks = networks_of(write_run(tmp_path), ("searched", "scaled"), tmp_path / "out")
    accuracies = {
        ("searched", 0): 0.6,
        ("searched", 1): 0.8,
        ("searched", 2): 0.9,
        ("scaled", 0): 0.5,
        ("scaled", 1): 0.6,
    }
    rows = [{"method": m, "limit": TARGETS[0], "seed": s, "accuracy": a} for (m, s), a in accuracies.items()]
    lines = table(networks, pd.DataFrame(rows), range(3))
    assert lines["seeds"].tolist() == ["3", "2"]
    assert lines["accuracy, %"].tolist()[0].startswith("76.67 ± ")
    # By hand: differences 10 and 20; half the interval is 12.706 * 7.07 / sqrt(2)
    assert lines.iloc[0, -1] == "+15.00 ± 63.53"
    assert lines.iloc[1, -1] == ""


def test_only_what_is_missing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = networks_of(write_run(tmp_path), ("searched",), tmp_path)
    trained, shown = [], []

    def train(row: Mapping[str, Any], seed: int, _: Surroundings) -> dict[str, Any]:
        trained.append((row["limit"], seed))
        return {"method": row["method"], "limit": row["limit"], "seed": seed, "accuracy": 0.5, "seconds": 1.0}

    monkeypatch.setattr(pieces, "train", train)
    surroundings = Surroundings(tmp_path, tmp_path, Recipe(), use_gpu=False, num_threads=1)
    for seeds in (range(1), range(2), range(2)):
        with ThreadPoolExecutor(1) as pool:
            carry_out(networks, seeds, surroundings, pool, lambda done, wanted, _: shown.append((done, wanted)))
    assert trained == [(limit, seed) for seed in (0, 1) for limit in TARGETS]
    assert shown == [(0, 2), (1, 2), (2, 2), (2, 4), (3, 4), (4, 4), (4, 4)]
    assert len(done_so_far(tmp_path)) == 4


@pytest.mark.slow
def test_networks_are_trained_and_reported(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    given = ["--images-folder", str(images), "--out", str(out), "--methods", "searched", "--seeds", "1"]
    given += ["--jobs", "1", "--epochs", "1", "--batch-size", "32"]
    assert main(["--run", write_run(tmp_path), *given]) == 0
    rows = pd.read_parquet(out / TRAININGS_FILE)
    assert len(rows) == 2
    assert rows["accuracy"].between(0, 1).all()
    assert {"scaled.png", "scaled.csv", NETWORKS_FILE} <= {file.name for file in out.iterdir()}
    assert main([*given, "--epochs", "2"]) == EXIT_ERROR
    assert "other settings" in capsys.readouterr().err
