"""The Ray of a user, which was there before a search and stays after it."""

import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.campaign.processes import descendants, title_of

CLUSTER = (
    *("gcs_server", "/raylet/raylet", "log_monitor", "monitor.py", "dashboard", "ray::DashboardAgent"),
    *("ray::RuntimeEnvAgent", "ray::IDLE", "default_worker.py", "setup_worker.py", "ray.util.client.server"),
    "ray::_AutoscalingCoordinatorActor",  # Ray Train starts it once for all jobs of a cluster
)
"""Processes of a cluster without a job."""


class OwnRay:
    """`ray start --head` with two CPUs; a context manager."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    def __enter__(self) -> "OwnRay":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.end()

    def start(self) -> None:
        program = str(Path(sys.executable).parent / "ray")
        command = [program, "start", "--head", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
        subprocess.run(command, env=self._environment, check=True, capture_output=True, timeout=120)

    def end(self) -> None:
        """End whatever is left of it."""
        left = [each for each in descendants() if is_of_cluster(each)]
        for each in left:
            each.kill()
        psutil.wait_procs(left, timeout=10)

    def mend(self) -> None:
        """Start it again unless it is whole."""
        titles = [title_of(each) for each in descendants()]
        if not all(any(name in title for title in titles) for name in ("gcs_server", "/raylet/raylet")):
            self.end()
            time.sleep(1.0)
            self.start()


def is_of_cluster(process: psutil.Process) -> bool:
    return any(name in title_of(process) for name in CLUSTER)
