"""The shell blocks of README and guides, run in their order in one folder, with nothing changed but sizes.

It takes some minutes, so it is run by hand: pytest -m campaign tests/test_guides.py
"""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multinas_ray.__main__ import main
from multinas_ray.cluster import ray_session
from multinas_ray.commands import experiment, flags
from multinas_ray.export import ExportConfig
from multinas_ray.latency import ProfileSettings
from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.retraining import RetrainConfig
from multinas_ray.selection import SelectConfig
from tests.support.image_trees import write_tree
from tests.test_documentation import blocks_of, script_of

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", *(f"docs/guides/{name}.md" for name in ("quickstart", "custom", "after", "latency")))
SIZES: dict[type, dict[str, Any]] = {
    OneShotSearchConfig: {
        "warmup_rounds": 4,
        "search_rounds": 4,
        "candidates_per_network": 3,
        "threads_per_worker": 1,
    },
    SelectConfig: {"candidates_per_network": 3, "threads_per_worker": 1},
    RetrainConfig: {"epochs": 1},
    ExportConfig: {"onnx": False},
    ProfileSettings: {"least_passes": 2, "max_seconds": 0.1},
}
NOT_RUN = ("make test", "source", "tensorboard", "git", "pip")


def command_lines() -> Iterator[str]:
    """The lines of all shell blocks, each once; what a person has done is not done again."""
    seen = set()
    for page in PAGES:
        for block in blocks_of("bash", ROOT / page):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                command = shlex.join(words[1:] if words[:1] == ["time"] else words)
                if command and command not in seen and not command.startswith(NOT_RUN):
                    seen.add(command)
                    yield command


def run(command: str) -> int:
    program, *arguments = shlex.split(command)
    if command == "make quickstart":
        program, arguments = "python", ["experiments/quickstart.py"]
    if program == "multinas-ray":
        return main(arguments)
    assert program == "python", command
    assert re.fullmatch(r"experiments/\w+\.py", arguments[0]), command
    try:
        status: int = script_of(arguments[0]).main(arguments[1:])
    except SystemExit as ended:  # --help
        return int(ended.code or 0)
    return status


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that takes long is small."""
    original = flags.given_settings

    def given(arguments: argparse.Namespace, owner: type) -> dict[str, Any]:
        return {**original(arguments, owner), **SIZES.get(owner, {})}

    monkeypatch.setattr(flags, "given_settings", given)
    monkeypatch.setattr(experiment, "given_settings", given)
    monkeypatch.setattr("multinas_ray.oneshot.fitted_to", lambda config, *others: config)
    monkeypatch.setattr("multinas_ray.oneshot.calibration.CALIBRATION_SECONDS", 0.1)


def test_the_guides_run_as_they_are_written(
    small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    write_tree(tmp_path / "DIR", {"train/cats": 40, "train/dogs": 40, "val/cats": 12, "val/dogs": 12}, size=(16, 16))
    with ray_session():
        for command in command_lines():
            status = run(command)
            told = capsys.readouterr()
            is_good = status == 0 or (" profile " in command and status in (1, 3))  # a busy machine is noisy
            assert is_good, f"{command}\n{told.out[-2000:]}\n{told.err[-2000:]}"
            print(command)
