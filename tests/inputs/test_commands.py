"""Bad texts for every flag of every command and experiment, and bad values in every file of --config."""

import argparse
import contextlib
import importlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from multinas_ray import __main__ as program
from multinas_ray.commands.common import VerbParser
from tests.inputs.answers import HANGS, RETURNED, SILENT, TOLD, UNCLEAR, Answer, answer, judged

TEXTS = (
    "", " ", "x", "-1", "0", "1.5", "nan", "inf", "1e999", "9" * 30, "none", "true", "a=", "=1", "a=b", "a=nan",
    "a=1,,2", "\x1b[31mred", "a\nb", "a" * 3000, "../up", "naïve 名", ",", "s3:/x", "--",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 10**30, float("nan"), float("inf"), "", "x", "\x1b[31mred", "a" * 3000, [], [1], ["x"], {},
    {"a": 1}, [[1]], {"a": {"b": []}},
)  # fmt: skip
SCRIPTS = ("quickstart", "cifar10", "custom", "imagenet", "compare", "large_space", "tabular", "truth")
SAMPLED = 200
"""Of some 6,000; all where the environment has MULTINAS_INPUTS."""
ONLY_PARAMS = 4274.0
"""Parameters of the network of the first blocks of the quickstart's space."""

Main = Callable[[list[str]], Any]


def is_told(main: Main, arguments: list[str], *, may_work: bool) -> Answer:
    """What a command line does: it works, or ends with status 2 and one line on standard error."""
    printed, told = io.StringIO(), io.StringIO()

    def call() -> Any:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(told):
            try:
                return main(arguments)
            except SystemExit as exit:
                return exit.code

    found = answer(call)
    if found.kind != RETURNED:
        return found
    if found.result in (0, None):
        return found if may_work else Answer(SILENT, printed.getvalue()[:200])
    lines = told.getvalue().rstrip("\n")
    if found.result != 2 or not lines:
        return Answer(UNCLEAR, f"status {found.result}, {lines[:200]!r}")
    return judged(lines)


# ---- flags


def verbs() -> Iterator[tuple[str, Main, list[str], argparse.ArgumentParser]]:
    """Each verb, on a run that does not exist."""
    parser = program._parser()
    actions = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    for name, verb in actions[0].choices.items():
        assert isinstance(verb, VerbParser)
        if verb._fill is not None:
            verb._fill(verb)
        needed = ["--run", "nowhere"] if name == "profile" else ["nowhere"]
        yield name, program.main, [name, *needed], verb


def scripts() -> Iterator[tuple[str, Main, list[str], argparse.ArgumentParser]]:
    """Each experiment, which only shows its settings."""
    for name in SCRIPTS:
        module = importlib.import_module(f"experiments.{name}")
        if not hasattr(module, "main"):
            module = importlib.import_module(f"experiments.{name}.__main__")
        yield name, module.main, ["--show-config"], parser_of(module.main)


def parser_of(main: Main) -> argparse.ArgumentParser:
    """The parser with which a script would read its arguments."""

    class FoundError(BaseException):
        pass

    def found(parser: argparse.ArgumentParser, *_: Any) -> None:
        raise FoundError(parser)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(argparse.ArgumentParser, "parse_args", found)
        try:
            main([])
        except FoundError as error:
            parser: argparse.ArgumentParser = error.args[0]
            return parser
    raise AssertionError(f"{main.__module__} parses nothing")


def flags_of(parser: argparse.ArgumentParser) -> list[str]:
    return [each.option_strings[-1] for each in parser._actions if each.option_strings and each.nargs != 0]


def command_lines() -> list[tuple[str, Main, list[str]]]:
    lines = [
        (f"{name} {flag} {text[:20]!r}", main, [*given, f"{flag}={text}"])
        for name, main, given, parser in [*verbs(), *scripts()]
        for flag in flags_of(parser)
        for text in TEXTS
    ]
    return sampled(lines)


def sampled(lines: list[Any]) -> list[Any]:
    if "MULTINAS_INPUTS" in os.environ:
        return lines
    return [lines[place] for place in np.random.default_rng(0).permutation(len(lines))[:SAMPLED]]


@pytest.mark.filterwarnings("ignore")
def test_a_bad_flag_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = command_lines()
    monkeypatch.chdir(tmp_path)
    found = {name: is_told(main, arguments, may_work=True) for name, main, arguments in lines}
    faults = [f"{name}: {each.kind}: {each.text}" for name, each in found.items() if each.is_fault]
    assert faults == []
    assert sum(each.kind == TOLD for each in found.values()) > len(found) / 2


# ---- files of --config


def changed_files(settings: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in settings.items():
        for number, new in enumerate(VALUES):
            yield f"{name} = {str(new)[:20]!r} ({number})", {**settings, name: new}
        if isinstance(value, dict):
            for inner, changed in changed_files(value):
                yield f"{name}.{inner}", {**settings, name: changed}
    yield "an unknown name", {**settings, "nonsense": 1}


def yaml_of(content: dict[str, Any]) -> str:
    """By libyaml where it is there, which is ten times as fast."""
    return str(yaml.dump(content, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))


def small(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of the only network of its first blocks, since most of the time would go into reading all blocks."""
    if "space" not in settings:
        return settings
    positions = [{**each, "blocks": each["blocks"][:1]} for each in settings["space"]["positions"]]
    return {**settings, "space": {**settings["space"], "positions": positions}, "targets": [ONLY_PARAMS]}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_bad_value_in_a_file_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    faults, cases, file = [], [], tmp_path / "settings.yaml"
    for name, main, given, _ in scripts():
        if name in ("custom", "imagenet", "cifar10"):
            continue  # they read images to know their settings
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            assert main(given) in (0, None)
        settings = small(yaml.safe_load(shown.getvalue()))
        file.write_text(yaml_of(settings))
        assert is_told(main, [*given, "--config", str(file)], may_work=True).kind == RETURNED
        cases += [(name, main, given, told, content) for told, content in changed_files(settings)]
    for name, main, given, told, content in sampled(cases):
        file.write_text(yaml_of(content))
        found = is_told(main, [*given, "--config", str(file)], may_work=True)
        if found.is_fault or found.kind == HANGS:
            faults.append(f"{name}: {told}: {found.kind}: {found.text}")
    assert faults == []
