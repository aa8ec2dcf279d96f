"""README and guides: their Python runs as written, and their commands exist with the flags that they are given.

`test_documented_runs.py` has what starts a Ray.
"""

import argparse
import ast
import importlib
import importlib.util
import inspect
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from multinas_ray.__main__ import main
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.oneshot.preflight import check_data
from multinas_ray.spaces import ModelSpace, PartialBlock, Position
from multinas_ray.supernets import build_subnet

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", ".github/PULL_REQUEST_TEMPLATE.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
PROGRAMS_OF_OTHERS = {
    "cd",
    "docker",
    "git",
    "kubectl",
    "lint-imports",
    "mypy",
    "pre-commit",
    "python3",
    "ruff",
    "sbatch",
}
PROGRAMS_OF_OTHERS |= {"source", "tensorboard"}
"""Programs whose arguments are not looked at."""


INLINE = r"(?:(?:time )?python (?:-m )?experiments[./]|multinas-ray \w+ |make |ray \w+ |pip )[^`|]*"
"""How commands in the midst of a text begin."""


def blocks_of(language: str, page: Path) -> list[str]:
    """The fenced blocks of a language, without the indentation that a list gives them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", page.read_text(), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


PYTHON = [(page.relative_to(ROOT).as_posix(), block) for page in PAGES for block in blocks_of("python", page)]


def python_with(text: str, page: str) -> str:
    (block,) = [block for name, block in PYTHON if name == page and text in block]
    return block


def run_python(block: str, page: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile(block, page, "exec"), names)
    return names


def test_every_python_block_is_run_by_one_of_these_tests() -> None:
    """A new block needs a place in this file, or in `test_documented_runs.py`."""
    kinds = (
        "run_search(config)",
        "MultiDistributionOptimizer(",
        "MultiNASSearch(",
        "profile_space(",
        "elastic_blocks(",
        "model_space(",
        '"runs/quickstart"',
    )
    assert len(PYTHON) >= 7
    for page, block in PYTHON:
        assert sum(kind in block for kind in kinds) == 1, f"{page}:\n{block}"


@pytest.mark.parametrize(("page", "block"), PYTHON)
def test_functions_of_the_package_take_the_arguments_that_they_are_given(page: str, block: str) -> None:
    """Soon, without the minutes that some blocks take to run."""
    tree = ast.parse(block)
    names = {
        alias.asname or alias.name: getattr(importlib.import_module(node.module or ""), alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("multinas_ray")
        for alias in node.names
    }
    assert names
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names:
            keywords = {keyword.arg or "": None for keyword in call.keywords}
            inspect.signature(names[call.func.id]).bind(*call.args, **keywords)


def test_a_space_of_ones_own_takes_under_30_lines_and_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[OneShotSearchConfig] = []

    def searched(config: OneShotSearchConfig) -> SimpleNamespace:
        configs.append(config)
        columns = ["flops", "supernet_test_accuracy", "architecture_readable"]
        return SimpleNamespace(architectures=pd.DataFrame({name: [] for name in columns}))

    monkeypatch.setattr("multinas_ray.oneshot.run_search", searched)
    page = "docs/guides/custom.md"
    block = python_with("run_search(config)", page)
    run_python(block, page)
    (config,) = configs
    assert config.space.search_space.num_architectures == 2 * 4 * 3
    assert block.index("config = ") > 0
    assert len(block[: block.index("config = ")].splitlines()) < 30
    for architecture in config.space.search_space.enumerate():
        build_subnet(config.space, architecture)


def test_the_elastic_blocks_of_the_guide_share_weights() -> None:
    page = "docs/guides/custom.md"
    position = run_python(python_with("elastic_blocks(", page), page)["position"]
    assert isinstance(position, Position)
    assert [isinstance(block, PartialBlock) for block in position.blocks] == [True, True, True, False, False]


def test_the_model_of_the_guide_is_a_space() -> None:
    page = "docs/guides/model.md"
    space = run_python(python_with("model_space(my_network", page), page)["space"]
    assert isinstance(space, ModelSpace)
    assert space.search_space.num_categories == (3, 3)
    assert space.costs["flops"].minimum < space.costs["flops"].maximum


def test_the_search_of_the_guide_is_of_any_task() -> None:
    page = "docs/guides/model.md"
    config = run_python(python_with("register_dataset", page), page)["config"]
    assert isinstance(config, OneShotSearchConfig)
    splits = check_data(config)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (3200, 800, 500)


@pytest.mark.parametrize("page", ["README.md", "docs/guides/custom.md"])
def test_the_core_alone_finds_a_large_and_a_small_answer(page: str) -> None:
    names = run_python(python_with("MultiDistributionOptimizer(", page), page)
    modes = names["optimizer"].modes()  # type: ignore[attr-defined]  # names are of any type
    sizes = modes.sum(axis=1)
    assert all(sizes[:-1] >= sizes[1:])
    assert sizes[0] > sizes[-1]


def test_a_latency_table_becomes_a_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    page = "docs/guides/latency.md"
    block = python_with("profile_space(", page)
    run_python(block.replace("ProfileSettings()", "ProfileSettings(least_passes=2, max_seconds=0.1)"), page)
    least, _, most, unit = capsys.readouterr().out.split()
    assert 0 < float(least) < float(most)
    assert unit == "ms"


class Parsed(BaseException):
    """A command line was read without an error."""

    def __init__(self, namespace: argparse.Namespace) -> None:
        self.namespace = namespace


def flags_of(program: Callable[[], int], arguments: list[str]) -> argparse.Namespace:
    """What a program's own parser makes of arguments, without carrying them out; nothing of --help.

    Raises:
        AssertionError: the parser refuses them, or is never asked.
    """
    parse = argparse.ArgumentParser.parse_args

    def parse_only(parser: argparse.ArgumentParser, *given: Any, **named: Any) -> Any:
        raise Parsed(parse(parser, *given, **named))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
        patch.setattr(sys, "argv", [program.__module__, *arguments])
        try:
            program()
        except Parsed as parsed:
            return parsed.namespace
        except SystemExit as ended:
            if ended.code == 0:
                return argparse.Namespace()
    raise AssertionError(f"{program.__module__} refuses {shlex.join(arguments)}")


def commands_of(page: Path) -> Iterator[str]:
    """Commands of the shell blocks of a page, and those that stand in its text between backticks."""
    lines = [line for block in blocks_of("bash", page) for line in block.replace("\\\n", " ").splitlines()]
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines += re.findall(rf"`({INLINE})`", text)
    for line in lines:
        if line.startswith("--8<--"):  # a file that is shown
            continue
        words = shlex.split(line, comments=True)
        if words:
            yield shlex.join(words[1:] if words[0] == "time" else words)


COMMANDS = list(dict.fromkeys(command for page in PAGES for command in commands_of(page)))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_exists_and_takes_its_flags(command: str) -> None:
    program, *arguments = shlex.split(command)
    if program in PROGRAMS_OF_OTHERS:
        return
    CHECKS[program](arguments)


def check_python(arguments: list[str]) -> None:
    """`python experiments/NAME.py`, or `python -m experiments.NAME` where a script imports its neighbours."""
    if arguments[0] == "-m":
        module, *rest = arguments[1:]
        file = ROOT / module.replace(".", "/") / "__main__.py"
        flags_of(importlib.import_module(f"{module}.__main__" if file.is_file() else module).main, rest)
        return
    script, *rest = arguments
    assert re.fullmatch(r"experiments/\w+\.py", script)
    assert "from experiments" not in (ROOT / script).read_text(), f"{script} runs as a module alone"
    flags_of(script_of(script).main, rest)


@cache
def script_of(path: str) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(f"documented_{Path(path).stem}", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def check_multinas_ray(arguments: list[str]) -> None:
    flags_of(main, arguments)


def check_make(arguments: list[str]) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    done = subprocess.run(["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def check_ray(arguments: list[str]) -> None:
    """A command of Ray's own, whose files exist; what stands after -- is for the script that it names."""
    from ray.scripts.scripts import cli

    verb, *words = arguments
    own, for_script = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    known = {option for parameter in cli.commands[verb].params for option in parameter.opts}
    assert {word for word in own if word.startswith("-")} <= known
    for word in own:
        if word.endswith((".yaml", ".py")):
            assert (ROOT / word).is_file(), word
    if verb == "submit":
        check_python([own[-1], *for_script])


def check_pytest(arguments: list[str]) -> None:
    for word in arguments:
        if word.startswith("tests"):
            assert (ROOT / word).exists(), word


def check_pip(arguments: list[str]) -> None:
    """Extras of this package that are named exist."""
    project = (ROOT / "pyproject.toml").read_text()
    for word in arguments:
        if extras := re.fullmatch(r"\.\[(.*)\]", word):
            for extra in extras.group(1).split(","):
                assert f"\n{extra} = [" in project, extra


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": check_make,
    "multinas-ray": check_multinas_ray,
    "pip": check_pip,
    "pytest": check_pytest,
    "python": check_python,
    "ray": check_ray,
}


def test_a_wrong_flag_is_noticed() -> None:
    with pytest.raises(AssertionError, match="refuses"):
        check_python(["experiments/quickstart.py", "--no-such-flag"])
    with pytest.raises(AssertionError, match="refuses"):
        check_multinas_ray(["report"])
    with pytest.raises(AssertionError):
        check_ray(["up", "no_such_cluster.yaml"])
    with pytest.raises(AssertionError):
        check_make(["no-such-target"])


def test_the_commands_are_found() -> None:
    for command in ("make quickstart", "make test", "ray down cluster.yaml", "multinas-ray export runs/custom"):
        assert command in COMMANDS
