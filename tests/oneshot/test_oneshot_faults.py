"""Deaths and damages at any moment of a search on a real local Ray."""

import re
import signal
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from multinas_ray.runs import load_run, verify_run
from tests.campaign.disks import cut_newest
from tests.support.search_process import SearchProcess, title_of
from tests.support.whole_run import check_whole

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]


def test_ten_faults_on_one_run_lose_nothing(tmp_path: Path) -> None:
    """The campaign in short: each kind once; tests/campaign draws kinds and moments at random."""
    flags, run_path = ("--search-rounds", "250"), tmp_path / "tiny"
    driver = SearchProcess(tmp_path, *flags)
    driver.wait_for_evaluations(20)
    driver.processes("Trainable")[0].kill()  # its block comes again
    driver.wait_for_evaluations(driver.num_evaluations() + 30)
    family = driver.family()
    left_out = "DatasetManager|AutoscalingCoordinator|PreemptionWatcher|log_monitor"
    assert not [each for each in family if re.search(left_out, title_of(each))]
    driver.process.kill()
    driver.process.communicate()
    assert psutil.wait_procs(family, timeout=30)[1] == []
    recorded = load_run(run_path).evaluations
    for kind in ("evaluations", "rounds", "checkpoints", "state.json"):
        assert cut_newest(run_path, kind, num_bytes=100)

    driver = SearchProcess(tmp_path, *flags, "--resume")
    driver.wait_until((run_path / "sessions" / "0001.json").exists)
    driver.wait_for_evaluations(len(recorded) + 30)
    driver.processes("RayTrainWorker")[0].kill()  # Ray Train starts it again
    driver.wait_for_evaluations(driver.num_evaluations() + 60)
    driver.process.send_signal(signal.SIGINT)
    saved = check_interrupted(driver.finish(exit_status=130), run_path)
    assert saved < 6 * 250
    assert cut_newest(run_path, "state.json", num_bytes=100)

    driver = SearchProcess(tmp_path, *flags, "--resume")
    driver.wait_for_evaluations(saved + 10)
    worker = driver.processes("RayTrainWorker")[0]
    worker.suspend()
    time.sleep(3.0)
    worker.resume()
    driver.finish()
    run = load_run(run_path)
    check_whole(run, search_rounds=250)
    assert run.finished is not None
    assert run.finished["num_restarts"] == 2
    before = len(recorded) - 6  # the last line was cut
    pd.testing.assert_frame_equal(run.evaluations[:before], recorded[:before])


def check_interrupted(output: str, run_path: Path) -> int:
    """All is saved, and the last line tells how to go on; returns the number of evaluations."""
    assert "the rounds in flight are finished and saved" in output
    assert "The K distributions" in output
    assert "--resume" in output.splitlines()[-1]
    assert verify_run(run_path).holds
    run = load_run(run_path)
    assert run.distributions["update"].max() == len(run.evaluations) // 6
    return len(run.evaluations)
