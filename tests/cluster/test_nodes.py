"""Searches on several nodes: what the loss of one costs."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest

from multinas_ray.results import load_run
from multinas_ray.results.verify import verify_run

pytestmark = [pytest.mark.cluster, pytest.mark.nodes, pytest.mark.timeout(660)]

SCRIPT = Path(__file__).with_name("two_nodes.py")


@pytest.mark.parametrize("flags", [["--num-workers", "1:2"], ["--num-workers", "2", "--replace"]])
def test_a_killed_node_costs_no_recorded_round(tmp_path: Path, flags: list[str]) -> None:
    """It goes on with one worker of 1:2, and with both of 2 once another node is there."""
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    command = [sys.executable, str(SCRIPT), str(tmp_path), *flags]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=600)
    finally:
        for each in psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []:
            each.kill()  # the nodes are its own
        process.kill()
    assert process.returncode == 0, output
    run = load_run(tmp_path / "tiny")
    assert run.is_finished
    assert len(list((tmp_path / "tiny" / "sessions").iterdir())) == 1  # the driver was never started again
    assert run.evaluations["tell_order"].tolist() == list(range(6 * 40))
    assert run.evaluations["id"].is_unique
    assert verify_run(run.path).holds
    before = pd.read_parquet(tmp_path / "before.parquet")
    assert 18 <= len(before) < len(run.evaluations)
    told = ["tell_order", "id", "round", "loss", "log_q"]
    pd.testing.assert_frame_equal(run.evaluations[told].head(len(before)), before[told])
