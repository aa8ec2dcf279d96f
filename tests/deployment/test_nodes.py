"""Searches on several nodes: what the loss of one costs."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from multinas_ray.runs import load_run, verify_run

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.by_hand,
    pytest.mark.data,
    pytest.mark.timeout(660),
]

SCRIPT = Path(__file__).with_name("two_nodes.py")
SCRIPT_SECONDS = 600
NUM_ROUNDS = 120


@pytest.mark.parametrize("flags", [["--num-workers", "1:2"], ["--num-workers", "2", "--then", "replace"]])
def test_a_node_that_goes_after_its_notice_costs_no_recorded_round(tmp_path: Path, flags: list[str]) -> None:
    """The search goes on with one worker of 1:2, and with both of 2 once another node is there."""
    output = run_script(tmp_path, "--search-rounds", str(NUM_ROUNDS), *flags)
    (line,) = [line for line in output.splitlines() if line.startswith("Spot notice")]
    assert "the cloud takes the node 127.0.0.3 back in " in line
    run = load_run(tmp_path / "tiny")
    assert run.is_finished
    assert len(list((tmp_path / "tiny" / "sessions").iterdir())) == 1  # the driver was never started again
    assert run.evaluations["tell_order"].tolist() == list(range(6 * NUM_ROUNDS))
    assert run.evaluations["id"].is_unique
    assert verify_run(run.path).holds
    assert len(run.architectures) == 3
    before = pd.read_parquet(tmp_path / "before.parquet")
    assert 18 <= len(before) < len(run.evaluations)
    told = ["tell_order", "id", "round", "loss", "log_q"]
    pd.testing.assert_frame_equal(run.evaluations[told].head(len(before)), before[told])


def test_ctrl_c_ends_a_search_that_waits_for_a_lost_node(tmp_path: Path) -> None:
    """Nobody will finish the rounds in flight."""
    flags = ["--search-rounds", str(NUM_ROUNDS), "--num-workers", "2", "--then", "interrupt"]
    output = run_script(tmp_path, *flags, exit_status=130)
    assert "A worker is lost, so the weights are those of the last checkpoint." in output
    run = load_run(tmp_path / "tiny")
    assert not run.is_finished
    assert verify_run(run.path).holds
    before = pd.read_parquet(tmp_path / "before.parquet")
    assert len(before) <= len(run.evaluations) < 6 * NUM_ROUNDS


def run_script(storage: Path, *flags: str, exit_status: int = 0) -> str:
    """Run the script to its end; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, str(SCRIPT), str(storage), *flags]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=SCRIPT_SECONDS)
    finally:
        for each in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            each.kill()  # the nodes are its own
        process.kill()
    assert process.returncode == exit_status, output
    return output
