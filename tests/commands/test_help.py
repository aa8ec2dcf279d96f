"""--help of every command answers soon: what computes is loaded when it is used."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLOW = {
    *("joblib", "matplotlib", "optuna", "pandas", "pymoo", "ray", "scipy", "sklearn", "timm"),
    *("torch", "torchmetrics", "torchvision"),
}
"""Each takes a tenth of a second to several seconds to load."""
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
def test_help_loads_nothing_that_is_slow(command: list[str]) -> None:
    run = [sys.executable, "-X", "importtime", *command]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    lines = [line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert "argparse" in lines
    assert SLOW & {name.split(".")[0] for name in lines} == set()
