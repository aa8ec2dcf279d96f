"""Paths that a person gives are made absolute where they come in, whatever the working folder of what uses them."""

import dataclasses
import importlib
import os
import pkgutil
import typing
from pathlib import Path
from typing import Any

import pytest

import experiments
import multinas_ray
from experiments.custom import CUSTOM
from experiments.quickstart import QUICKSTART
from multinas_ray.__main__ import main
from multinas_ray.commands.flags import settings_of
from multinas_ray.commands.outputs import PlotConfig
from multinas_ray.data import DataConfig
from multinas_ray.errors import ConfigError
from multinas_ray.export import ExportConfig, export_networks
from multinas_ray.retraining import retrain_networks
from multinas_ray.retraining.running import Retraining
from multinas_ray.selection import select_networks
from multinas_ray.settings import Flag, checked_arguments, is_settings
from multinas_ray.storage import GivenCode, GivenPath
from multinas_ray.storage.given import ResolvedBy
from tests.support.chosen_run import write_chosen_run
from tests.support.image_trees import write_tree

PATHS = {"DIR", "FILE", "FOLDER"}
CODE = {"MODULE", "FILE.py:FUNCTION"}


def marks_of(hint: typing.Any) -> list[typing.Any]:
    """All marks of a type, to any depth."""
    found = list(getattr(hint, "__metadata__", ()))
    for part in (getattr(hint, "__origin__", None), *typing.get_args(hint)):
        is_plain = isinstance(part, type) and not typing.get_args(part)  # Python 3.10 says that tuple[int] is a type
        if part is not None and part is not hint and not is_plain:
            found += marks_of(part)
    return found


def classes_of_settings() -> list[type]:
    """Every class of settings of the package and of the experiments."""
    found = {}
    for package in (multinas_ray, experiments):
        for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if each.name in ("multinas_ray.__main__", "experiments.own_blocks"):  # the latter is loaded as a file
                continue
            for value in vars(importlib.import_module(each.name)).values():
                if isinstance(value, type) and "__pydantic_config__" in vars(value) and is_settings(value):
                    found[f"{value.__module__}.{value.__qualname__}"] = value
    return list(found.values())


MADE_BY_US = {"WorkerJob", "CandidateJob", "Selection", "RetrainingJob"}
"""Messages between processes, whose paths are those of settings."""


def test_every_setting_that_is_a_path_is_made_absolute() -> None:
    """A flag tells by its placeholder that its value is a path or code."""
    seen = set()
    for owner in classes_of_settings():
        hints = typing.get_type_hints(owner, include_extras=True)
        for field in dataclasses.fields(owner):
            marks = marks_of(hints[field.name])
            (flag,) = [each for each in marks if isinstance(each, Flag)] or [Flag()]
            name = f"{owner.__name__}.{field.name}"
            if flag.metavar in PATHS | CODE:
                seen.add(name)
                assert any(isinstance(each, ResolvedBy) for each in marks), name
            else:
                is_text = str(hints[field.name]) in ("<class 'str'>", "str | None", "typing.Optional[str]")
                is_named_so = field.name.rpartition("_")[2] in ("path", "folder", "file", "table", "output")
                assert owner.__name__ in MADE_BY_US or not (is_text and is_named_so), f"{name} is no GivenPath"
    assert {"DataConfig.path", "OneShotSearchConfig.storage_path", "ExportConfig.output", "TruthOptions.out"} <= seen


@pytest.mark.parametrize("function", [select_networks, retrain_networks, export_networks])
def test_functions_that_use_workers_make_their_paths_absolute(function: typing.Any) -> None:
    hints = typing.get_type_hints(function, include_extras=True)
    for name in ("run_path", "data_path", "imports"):
        assert any(isinstance(each, ResolvedBy) for each in marks_of(hints[name])), name


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside photos and code, which is the working folder."""
    write_tree(tmp_path / "photos", {"cats": 20, "dogs": 20}, size=(16, 16))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_an_experiment_in_another_folder_is_recorded_with_absolute_paths(elsewhere: Path) -> None:
    flags = ["--data", "../photos", "--storage", "results"]
    config = CUSTOM.config(CUSTOM.parser().parse_args(flags))
    assert config.data.path == f"{elsewhere}/work/../photos"
    assert config.to_settings()["storage_path"] == f"{elsewhere}/work/results"
    assert config.to_dict()["settings"]["data_path"] == config.data.path


def test_paths_left_out_and_paths_of_a_file_are_absolute_too(elsewhere: Path) -> None:
    assert QUICKSTART.config(QUICKSTART.parser().parse_args([])).storage_path == f"{elsewhere}/work/runs"
    Path("my.yaml").write_text("storage_path: ~/results\n")
    config = QUICKSTART.config(QUICKSTART.parser().parse_args(["--config", "my.yaml"]))
    assert config.storage_path == f"{elsewhere}/home/results"
    assert PlotConfig().output == f"{elsewhere}/work"
    assert ExportConfig(output="s3://bucket/exported").output == "s3://bucket/exported"


def test_code_is_found_from_where_it_was_named(elsewhere: Path) -> None:
    @checked_arguments
    def told(*, code: GivenCode, path: GivenPath | None = None) -> tuple[str, str | None]:
        return code, path

    assert told(code="my.py:space", path="x") == (f"{elsewhere}/work/my.py:space", f"{elsewhere}/work/x")
    assert told(code="../my.py") == (f"{elsewhere}/work/../my.py", None)
    assert told(code="package.module:space") == ("package.module:space", None)
    assert told(code="package.module") == ("package.module", None)


def test_a_path_that_is_none_is_told_once(elsewhere: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        DataConfig(source="folder", path="http://server/photos")
    assert str(caught.value).count("http") == 2  # the path, and its scheme
    assert "cannot be used as a path" in str(caught.value)


def test_help_needs_no_absolute_path() -> None:
    settings = {each.flag: each.default for each in settings_of(PlotConfig)}
    assert settings["--output"] == "."


@pytest.mark.parametrize(
    ("verb", "flags", "written"),
    [
        ("verify", (), ()),
        ("report", ("--output", "out/report.html"), ("out/report.html",)),
        ("plot", ("--output", "out"), ("out/pareto.png", "out/distributions.png")),
    ],
)
def test_verbs_work_from_another_folder(
    verb: str, flags: tuple[str, ...], written: tuple[str, ...], elsewhere: Path, finished_run: Path
) -> None:
    run = os.path.relpath(finished_run, Path.cwd())
    assert main([verb, run, *flags]) == 0
    for name in written:
        assert (elsewhere / "work" / name).is_file()


def test_retraining_from_another_folder_gives_its_workers_absolute_paths(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_path = write_chosen_run(elsewhere)
    jobs: list[Any] = []
    monkeypatch.setattr(Retraining, "_train", lambda self, waiting, callbacks: jobs.extend(waiting.values()))
    assert main(["retrain", "../chosen", "--epochs", "2"]) == 0
    assert jobs
    for job in jobs:
        for path in (job.family_path, job.work_path, job.supernet_weights, *job.folders):
            assert Path(path).is_absolute()
            assert Path(path).resolve().is_relative_to(run_path)
