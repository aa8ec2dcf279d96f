"""The process that ends what a killed driver leaves behind."""

import os
import subprocess
import sys
import time
from collections import Counter

import psutil
import pytest

from multinas_ray.cluster.reaper import LOOK_SECONDS, MARK, Kin, Reaper

CHILD = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], env={}).pid, flush=True)
time.sleep(60)
"""
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DRIVER = f"""
import subprocess, time
from multinas_ray.cluster.reaper import Reaper
with Reaper().marking():
    print(subprocess.Popen({SLEEP}, start_new_session=True).pid, flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="needs /proc")  # noqa: PTH110


def test_what_a_killed_driver_has_started_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        left = psutil.Process(int(driver.stdout.readline()))
        reaper = next(each for each in psutil.Process(driver.pid).children() if "reaper.py" in " ".join(each.cmdline()))
        driver.kill()
    assert psutil.wait_procs([left, reaper], timeout=10)[1] == []


def test_what_came_from_a_marked_process_is_ended_after_it_though_it_hides_its_environment() -> None:
    reaper = Reaper()
    with reaper.marking(), subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(1.5 * LOOK_SECONDS)
        parent.kill()
    assert child.is_running()
    reaper.end()
    assert psutil.wait_procs([child], timeout=10)[1] == []


def test_the_end_takes_what_was_started_within_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MARK, raising=False)
    before = subprocess.Popen(SLEEP)
    reaper = Reaper()
    with reaper.marking():
        between = subprocess.Popen(SLEEP)
    after = subprocess.Popen(SLEEP)  # as the service of a tracker
    reaper.end()
    assert between.wait(timeout=10) < 0
    assert MARK not in os.environ
    for each in (before, after):
        assert each.poll() is None
        each.kill()
        each.wait()


def test_the_variables_of_a_process_of_others_are_read_twice_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once might be between its fork and its start; always would take a percent of a core."""
    kin, read = Kin("of nobody"), Counter[int]()
    monkeypatch.setattr(kin, "_is_marked", lambda process: read.update([process]))
    with subprocess.Popen(SLEEP) as other:
        for _ in range(4):
            kin.look()
        other.kill()
    assert read[other.pid] == 2
