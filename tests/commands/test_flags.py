"""Flags come from the fields of settings."""

import argparse
import dataclasses
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from multinas_ray.__main__ import VERBS, main
from multinas_ray.commands.common import OneLineParser
from multinas_ray.commands.flags import add_settings, given_settings, read_settings
from multinas_ray.errors import ConfigError
from multinas_ray.retraining import RetrainConfig
from multinas_ray.settings import Flag, OneOf, PositiveInt, checked

ROOT = Path(__file__).parents[2]


@checked
@dataclass(frozen=True, kw_only=True)
class Inner:
    """Nested settings."""

    size: PositiveInt = 4
    """Pixels of `this`, 100 % of them."""
    seed: int = 1


@checked
@dataclass(frozen=True, kw_only=True)
class Outer:
    """Settings of every kind that a flag can tell."""

    seed: int = 0
    """Decides
    draws."""
    rate: float | None = 0.5
    """A rate."""
    name: Annotated[str, Flag("title", metavar="NAME")] = "x"
    is_on: bool = False
    """A switch."""
    kind: Literal["first", "second"] = "first"
    sizes: Sequence[int] = ()
    words: tuple[str, ...] | None = None
    colours: tuple[Annotated[str, OneOf(("red", "blue"))], ...] = ("red",)
    """Colours of the picture."""
    limits: Mapping[str, float | Sequence[float]] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    function: Any = None


def parser() -> argparse.ArgumentParser:
    result = OneLineParser(prog="program")
    add_settings(result, {"outer": Outer})
    return result


def read(*flags: str) -> Outer:
    return read_settings(parser().parse_args(flags), Outer)


def test_flags_set_fields_of_every_kind() -> None:
    assert read() == Outer()
    flags = ["--seed", "3", "--rate", "1e-3", "--title", "no", "--is-on", "--kind", "second", "--sizes", "1", "2"]
    more = [
        "--words",
        "a",
        "b",
        "--limits",
        "params=2e6,4e6",
        "--limits",
        "flops=7",
        "--options",
        "teacher=s3://a/b,c=d",
        "--options",
        "weight=0.5",
        "--colours",
        "blue",
        "red",
        "--size",
        "8",
        "--inner.seed",
        "9",
    ]
    assert read(*flags, *more) == Outer(
        seed=3,
        rate=1e-3,
        name="no",
        is_on=True,
        kind="second",
        sizes=(1, 2),
        words=("a", "b"),
        options={"teacher": "s3://a/b,c=d", "weight": 0.5},
        colours=("blue", "red"),
        limits={"params": (2e6, 4e6), "flops": 7.0},
        inner=Inner(size=8, seed=9),
    )
    assert read("--is-on", "--no-is-on") == Outer()
    assert read("--rate", "none").rate is None


def test_only_what_flags_say_is_given() -> None:
    given = given_settings(parser().parse_args(["--size", "8", "--no-is-on"]), Outer)
    assert given == {"is_on": False, "inner": {"size": 8}}


def test_help_tells_docstrings_defaults_and_choices() -> None:
    told = " ".join(parser().format_help().split())
    for text in (
        "--seed N Decides draws (default: 0)",
        "--rate X A rate (default: 0.5)",
        "--title NAME (default: x)",
        "--colours [TEXT ...] Colours of the picture, of red, blue (default: red)",
        "--is-on, --no-is-on A switch (default: False)",
        "--kind {first,second} (default: first)",
        "--limits NAME=VALUE[,VALUE...]",
        "inner: --size N Pixels of this, 100 % of them (default: 4)",
        "--inner.seed N",
    ):
        assert text in told
    assert "--function" not in told


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--seed", "2.5"], "argument --seed: invalid whole number value: '2.5'"),
        (["--rate", "fast"], "argument --rate: invalid number value: 'fast'"),
        (["--limits", "params=few"], "argument --limits: give NAME=VALUE or NAME=VALUE,VALUE, such as params=2e6"),
        (["--options", "teacher="], "argument --options: give NAME=VALUE, not 'teacher='"),
        (["--kind", "third"], "argument --kind: invalid choice: 'third'"),
        (["--colours", "red", "green"], "argument --colours: invalid choice: 'green'"),
        (["--sizes", "1", "x"], "argument --sizes: invalid whole number value: 'x'"),
        (["--limits", "params"], "argument --limits: give NAME=VALUE or NAME=VALUE,VALUE, such as params=2e6"),
        (["--sise", "1"], "unrecognized arguments: --sise 1"),
    ],
)
def test_a_wrong_flag_is_one_line(flags: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        read(*flags)
    error = capsys.readouterr().err
    assert (stopped.value.code, error.count("\n")) == (2, 1)
    assert error.startswith(f"program: error: {told}")


def test_a_flags_value_is_checked_as_any_other() -> None:
    with pytest.raises(ConfigError, match=r"^Inner: size must be at least 1, got 0$"):
        read("--size", "0")
    with pytest.raises(ConfigError, match=r"^Outer: rate must be finite or None, got nan$"):
        read("--rate", "nan")
    with pytest.raises(ConfigError, match=r"^--limits takes each name once"):
        read("--limits", "a=1", "--limits", "a=2")


def test_flags_go_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("seed: 7\nsizes: [1, 2]\ninner: {size: 8}\nlimits: {a: 1, b: [2, 3]}\n")
    told = read("--config", str(file), "--seed", "8", "--inner.seed", "5")
    assert told == Outer(seed=8, sizes=(1, 2), inner=Inner(size=8, seed=5), limits={"a": 1.0, "b": (2.0, 3.0)})
    file.write_text("inner: {sise: 8}")
    with pytest.raises(ConfigError, match="Inner: sise is unknown; is size meant"):
        read("--config", str(file))


def test_every_field_of_the_recipe_has_its_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["retrain", "--help"])
    told = capsys.readouterr().out
    for each in dataclasses.fields(RetrainConfig):
        assert f"  --{each.name.replace('_', '-')}" in told


@pytest.mark.parametrize("verb", [verb.__name__.rpartition(".")[2] for verb in VERBS])
def test_help_answers_without_heavy_packages(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0
    assert ("--config FILE.yaml" in capsys.readouterr().out) == (verb != "verify")
    code = (
        "import sys; from multinas_ray.__main__ import main\n"
        f"try: main([{verb!r}, '--help'])\n"
        "except SystemExit: assert not {'ray', 'torch', 'numpy', 'pandas', 'pyarrow', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


@pytest.mark.parametrize("name", ["quickstart", "cifar10", "imagenet", "custom"])
def test_an_experiments_help_loads_neither_ray_nor_torch(name: str) -> None:
    code = (
        f"import sys; from experiments.{name} import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: assert not {'ray', 'torch', 'pandas', 'pyarrow', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
