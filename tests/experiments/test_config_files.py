"""The settings of every experiment, and of retraining: a file that a run writes gives the same run again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from experiments import (
    benchmark_cells,
    benchmark_core,
    benchmark_input,
    benchmark_record,
    benchmark_reduce,
    benchmark_searcher,
    cifar10,
    custom,
    imagenet,
    quickstart,
    truth,
)
from experiments.compare.__main__ import COMPARE
from experiments.parts.settings import keep_command
from experiments.tabular.__main__ import TABULAR
from multinas_ray.commands.experiment import Experiment
from multinas_ray.commands.script import Script
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import SETTINGS_FILE
from multinas_ray.storage import read_yaml, write_yaml
from tests.support.image_trees import write_tree

OWN_BLOCKS = str(Path(__file__).parents[2] / "experiments" / "own_blocks.py")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> str:
    counts = {"train/cats": 30, "train/dogs": 30, "val/cats": 10, "val/dogs": 10}
    return str(write_tree(tmp_path_factory.mktemp("pets"), counts, size=(16, 20)))


def config_of(experiment: Experiment[Any], *flags: str) -> OneShotSearchConfig:
    return experiment.config(experiment.parser().parse_args(flags))


EXPERIMENTS: list[tuple[Experiment[Any], list[str], list[str]]] = [
    (quickstart.QUICKSTART, [], []),
    (quickstart.QUICKSTART, ["--seed", "3", "--coefficients", "0", "0.1", "--num-workers", "1:2", "--memory", "0"], []),
    (cifar10.CIFAR10, ["--data", "images", "--download"], []),
    (cifar10.CIFAR10, ["--preset", "full", "--use-gpu", "--complexity", "params"], []),
    (imagenet.IMAGENET, ["--width", "0.5", "--targets", "1e8", "2e8", "--epochs", "3", "--learning-rate", "0.1"], []),
    (custom.CUSTOM, ["--data", "TREE", "--no-horizontal-flip"], []),
    (
        custom.CUSTOM,
        ["--data", "TREE", "--space", f"{OWN_BLOCKS}:separable_space", "--cost", f"{OWN_BLOCKS}:memory_traffic"],
        ["--import", OWN_BLOCKS],
    ),
]


@pytest.mark.parametrize(("experiment", "flags", "with_file"), EXPERIMENTS)
def test_the_file_that_a_run_writes_starts_the_same_search(
    experiment: Experiment[Any],
    flags: list[str],
    with_file: list[str],
    tree: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[OneShotSearchConfig] = []

    def begin(config: OneShotSearchConfig) -> None:
        started.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr("multinas_ray.oneshot.running.check_data", begin)  # what comes after the file is written
    flags = [tree if flag == "TREE" else flag for flag in flags]
    assert experiment.run(["--storage", str(tmp_path), "--name", "first", *flags]) == 130
    file = str(tmp_path / "first" / SETTINGS_FILE)
    assert experiment.run(["--config", file, "--name", "second", *with_file]) == 130
    first, second = started
    assert second.to_dict() == {**first.to_dict(), "name": "second", "settings": second.to_dict()["settings"]}
    assert second.to_settings() == {**first.to_settings(), "name": "second"}
    assert read_yaml(tmp_path / "second" / SETTINGS_FILE) == second.to_settings()


def test_flags_go_over_the_file_and_the_file_over_the_experiment(tmp_path: Path) -> None:
    file = str(tmp_path / "my.yaml")
    write_yaml(file, {"seed": 7, "training": {"batch_size": 32, "learning_rate": 0.3}, "targets": [2e3, 5e3]})
    config = config_of(quickstart.QUICKSTART, "--config", file, "--learning-rate", "0.4", "--coefficients", "0", "1")
    assert (config.seed, config.training.batch_size, config.training.learning_rate) == (7, 32, 0.4)
    assert config.training.weight_decay == 1e-4  # the experiment's
    assert (config.targets, config.coefficients) == (None, (0.0, 1.0))
    assert config.samples_per_update == 16


def test_an_experiments_own_options_may_be_in_the_file(tmp_path: Path, tree: str) -> None:
    file = str(tmp_path / "my.yaml")
    write_yaml(file, {"preset": "full", "data": {"path": "/images"}})
    config = config_of(cifar10.CIFAR10, "--config", file)
    assert (config.space.name, config.data.path) == ("cifar10_mobile", "/images")
    assert config_of(cifar10.CIFAR10, "--config", file, "--preset", "small").space.name == "nas_bench_macro"
    own = {"space_function": f"{OWN_BLOCKS}:separable_space", "cost_functions": [f"{OWN_BLOCKS}:memory_traffic"]}
    write_yaml(file, {"data": {"path": tree, "strict": True}, "batch_size": 6, **own})
    config = config_of(custom.CUSTOM, "--config", file)
    assert (config.space.name, config.complexity, config.data.strict) == ("separable", "traffic_bytes", True)
    assert config.training.batch_size == 6


BAD_FILES: list[tuple[str, str]] = [
    ("seeds: 3", "seeds is no setting of this experiment; is seed meant?"),
    ("seed: x", "OneShotSearchConfig: seed must be a whole number, got 'x'"),
    ("seed: 1.5", "OneShotSearchConfig: seed must be a whole number, got 1.5"),
    ("seed:", "OneShotSearchConfig: seed must be a whole number, got None"),
    ("training: {batchsize: 3}", "WeightTraining: batchsize is unknown; is batch_size meant?"),
    ("training: 3", "OneShotSearchConfig: training must be a WeightTraining, got 3"),
    ("training: {learning_rate: .nan}", "WeightTraining: learning_rate must be finite, got nan"),
    ("targets: 3", "OneShotSearchConfig: targets must be a list or None, got 3"),
    ("data: {strict: no}", "DataConfig: strict must be True or False, got 'no'"),
    ("space: digits", "OneShotSearchConfig: space must be a Space, got 'digits'"),
    ("space: {name: x}", "this does not describe a network space"),
    ("extra_costs: latency", "OneShotSearchConfig: extra_costs must be a list, got 'latency'"),
    ("extra_costs: [{kind: additive, name: x}]", "does not describe a cost"),
    ("imports: [no_such_module_of_ours]", "no_such_module_of_ours"),
    ("latency_table: 3", "ExperimentOptions: latency_table must be text or None, got 3"),
    ("name: [", "is not readable as YAML"),
    ("- a", "must hold settings as `name: value`"),
]


@pytest.mark.parametrize(("text", "told"), BAD_FILES)
def test_a_bad_file_is_one_line_that_names_it_its_key_and_the_rule(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    assert quickstart.main(["--config", str(file), "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.startswith(f"error: {file}") or "import" in text
    assert error.count("\n") == 1


def test_options_beside_a_file_of_a_whole_search_are_told_to_be_of_no_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(tmp_path / "whole.yaml")
    write_yaml(file, config_of(imagenet.IMAGENET).to_settings())
    assert imagenet.main(["--config", file, "--epochs", "3", "--width", "0.5", "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: width, epochs: of no effect, since the file of --config describes a whole search;")
    assert error.count("\n") == 1


MAINS: list[Callable[[list[str]], int]] = [quickstart.main, cifar10.main, imagenet.main, custom.main]


@pytest.mark.parametrize("main", MAINS)
def test_a_wrong_flag_is_one_line(main: Callable[[list[str]], int], capsys: pytest.CaptureFixture[str]) -> None:
    for flags, told in (
        (["--warmup-rounds", "2.5"], "argument --warmup-rounds: invalid whole number value: '2.5'"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        (["--precision", "float16"], "argument --precision: invalid choice: 'float16'"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(flags)
        error = capsys.readouterr().err
        assert (stopped.value.code, error.count("\n")) == (2, 1)
        assert told in error


def test_what_is_shown_is_a_file_that_gives_the_same_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cifar10.main(["--show-config", "--preset", "full", "--seed", "5"]) == 0
    (tmp_path / "my.yaml").write_text(capsys.readouterr().out)
    config = config_of(cifar10.CIFAR10, "--config", str(tmp_path / "my.yaml"))
    assert config.to_settings() == config_of(cifar10.CIFAR10, "--preset", "full", "--seed", "5").to_settings()


SCRIPTS: list[tuple[Script[Any], list[str], dict[str, Any]]] = [
    (
        COMPARE,
        ["--epochs", "3", "--methods", "ours", "spos"],
        {"comparison": {"epochs": 3}, "methods": ["ours", "spos"]},
    ),
    (TABULAR, ["--seeds", "2", "--tune"], {"seeds": 2, "tune": True}),
    (truth.TRUTH, ["--width", "0.25", "--jobs", "1"], {"training": {"width": 0.25}, "jobs": 1}),
    (benchmark_cells.BENCHMARK, ["--cells", "3"], {"cells": [3]}),
    (benchmark_core.BENCHMARK, ["--memory", "2"], {"memory": 2}),
    (benchmark_input.BENCHMARK, ["--seconds", "0.5", "--shards"], {"seconds": 0.5, "shards": True}),
    (benchmark_record.BENCHMARK, ["--window", "5"], {"window": 5}),
    (benchmark_reduce.BENCHMARK, ["--spaces", "digits", "macro"], {"spaces": ["digits", "macro"]}),
    (benchmark_searcher.BENCHMARK, ["--after", "0", "10"], {"after": [0, 10]}),
]


def settings_of(script: Script[Any], *flags: str) -> Any:
    given: list[Any] = []
    assert script.run(list(flags), lambda settings, console: given.append(settings)) == 0
    return given[0]


@pytest.mark.parametrize(("script", "flags", "values"), SCRIPTS)
def test_settings_of_a_script_come_from_flags_files_and_what_it_wrote(
    script: Script[Any], flags: list[str], values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, file = settings_of(script, *flags), str(tmp_path / "my.yaml")
    assert wanted != settings_of(script)
    write_yaml(file, values)
    assert settings_of(script, "--config", file) == wanted
    keep_command(wanted, tmp_path)
    assert settings_of(script, "--config", str(tmp_path / SETTINGS_FILE)) == wanted
    assert script.run([*flags, "--show-config"], lambda settings, console: pytest.fail("it must stop")) == 0
    (tmp_path / "shown.yaml").write_text(capsys.readouterr().out)
    assert settings_of(script, "--config", str(tmp_path / "shown.yaml")) == wanted
    (tmp_path / "my.yaml").write_text("seedz: 3")
    assert script.run(["--config", file], lambda settings, console: pytest.fail("it must not start")) == 2
    assert capsys.readouterr().err.startswith(f"error: {file}: {script.settings.__name__}: seedz is unknown; ")


@pytest.mark.parametrize("experiment", [cifar10.CIFAR10, custom.CUSTOM, quickstart.QUICKSTART])
def test_every_experiment_takes_another_source(experiment: Experiment[Any], tree: str) -> None:
    for source, flags in (("digits", []), ("folder", ["--data", tree])):
        data = experiment.config(experiment.parser().parse_args(["--source", source, *flags])).data
        assert (data.source, data.path) == (source, None if source == "digits" else tree)
        assert data.horizontal_flip == (source == "folder")
