"""The README's Python is run as written; only the search itself is replaced."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from multinas_ray.oneshot import OneShotSearchConfig
from multinas_ray.runs import verify_run
from multinas_ray.supernets import build_subnet

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def block_with(text: str) -> str:
    (block,) = [block for block in BLOCKS if text in block]
    return block


def test_a_space_of_ones_own_takes_under_30_lines_and_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[OneShotSearchConfig] = []

    def searched(config: OneShotSearchConfig) -> SimpleNamespace:
        configs.append(config)
        columns = ["flops", "supernet_test_accuracy", "architecture_readable"]
        return SimpleNamespace(architectures=pd.DataFrame({name: [] for name in columns}))

    monkeypatch.setattr("multinas_ray.oneshot.run_search", searched)
    block = block_with("NetworkSpace(")
    exec(compile(block, "README.md", "exec"), {})
    (config,) = configs
    assert config.space.search_space.num_architectures == 2 * 4 * 3
    assert block.index("config = ") > 0
    assert len(block[: block.index("config = ")].splitlines()) < 30
    for architecture in config.space.search_space.enumerate():
        build_subnet(config.space, architecture)


def test_the_core_alone_finds_a_large_and_a_small_answer() -> None:
    names: dict[str, object] = {}
    exec(compile(block_with("MultiDistributionOptimizer("), "README.md", "exec"), names)
    modes = names["optimizer"].modes()  # type: ignore[attr-defined]
    sizes = modes.sum(axis=1)
    assert np.all(np.diff(sizes) <= 0)
    assert sizes[0] > sizes[-1]


@pytest.mark.cluster
def test_the_tune_pipeline_gives_a_row_for_each_answer(tmp_path: Path) -> None:
    script = tmp_path / "pipeline.py"
    script.write_text(block_with("MultiNASSearch(").replace("num_samples=64", "num_samples=12"))
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONWARNINGS": "default"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    table = done.stdout[done.stdout.rindex("latency_ms") :].splitlines()
    assert [line.split()[0] for line in table[1:5]] == ["0", "1", "2", "3"]
    (record,) = tmp_path.glob("ray_results/multinas/*")
    assert verify_run(record).num_evaluations == 12


def test_the_commands_name_scripts_and_flags_that_exist() -> None:
    commands = re.findall(r"^python (experiments/\S+\.py.*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        script, *arguments = shlex.split(command)
        text = (ROOT / script).read_text() + (ROOT / "multinas_ray/commands/experiment.py").read_text()
        for flag in [each for each in arguments if each.startswith("--")]:
            assert f'"{flag}"' in text, f"{flag} of {script}"
