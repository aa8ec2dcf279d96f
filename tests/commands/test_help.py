"""--help of every command answers soon: what computes is loaded when it is used."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_CPU_SECONDS = 1.0
VERBS = ("verify", "select", "retrain", "export", "report", "profile", "plot")
SCRIPTS = ("quickstart", "custom", "cifar10", "imagenet", "write_shards")
MODULES = ("compare", "gpu_check", "large_space", "tabular", "truth")
COMMANDS = [
    ["-m", "multinas_ray", "--help"],
    *(["-m", "multinas_ray", verb, "--help"] for verb in VERBS),
    *([f"experiments/{script}.py", "--help"] for script in SCRIPTS),
    *(["-m", f"experiments.{name}", "--help"] for name in MODULES),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_takes_less_than_a_second(command: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < MOST_CPU_SECONDS
