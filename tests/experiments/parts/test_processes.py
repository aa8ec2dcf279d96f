"""The processes of an experiment end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import os, pathlib, sys, time
from experiments.parts.processes import fresh_processes

def work(folder):
    (pathlib.Path(folder) / str(os.getpid())).touch()
    time.sleep(600)

if __name__ == "__main__":
    with fresh_processes(1, grace_seconds=0.5) as pool:
        pool.submit(work, sys.argv[1]).result()
"""


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_experiment_leaves_no_process_behind(tmp_path: Path) -> None:
    script, folder = tmp_path / "script.py", tmp_path / "pids"
    script.write_text(SCRIPT)
    folder.mkdir()
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    parent = subprocess.Popen([sys.executable, script, folder], env=environment)
    deadline = time.monotonic() + 60
    while not (pids := [int(path.name) for path in folder.iterdir()]):
        assert time.monotonic() < deadline, "the work has not begun"
        time.sleep(0.05)
    assert _is_running(pids[0])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    while _is_running(pids[0]):
        assert time.monotonic() < deadline, "the work goes on alone"
        time.sleep(0.05)
