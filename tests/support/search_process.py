"""The tiny search as a user starts it: a process of its own with a Ray of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from multinas_ray.runs import load_run

SCRIPT = Path(__file__).parent / "tiny_search.py"


class SearchProcess:
    """A driver in a process group of its own.

    Args:
        storage: folder of the runs.
        flags: further flags of the tiny search.
    """

    def __init__(self, storage: Path, *flags: str) -> None:
        self.run_path = storage / "tiny"
        self._seen: dict[Path, int] = {}
        self._num_seen = 0
        environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "RAY_AUTH_MODE": "disabled"}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "--storage", str(storage), *flags],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def finish(self, exit_status: int = 0) -> str:
        """Wait for its end with this status; returns what it has printed."""
        output, _ = self.process.communicate(timeout=240)
        assert self.process.returncode == exit_status, output
        return output

    def num_evaluations(self) -> int:
        """Evaluations on record, which is read again where its files have changed."""
        files = {}
        with suppress(FileNotFoundError):  # a file of the journal may go meanwhile
            files = {each: each.stat().st_size for each in (self.run_path / "evaluations").rglob("*.*")}
        if files != self._seen:
            self._seen, self._num_seen = files, len(load_run(self.run_path).evaluations)
        return self._num_seen

    def wait_for_evaluations(self, number: int) -> None:
        """Wait until so many evaluations are on record."""
        self.wait_until(lambda: self.num_evaluations() >= number)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition while the search runs."""
        deadline = time.monotonic() + 180
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.2)  # a look at the record takes 30 ms of a core that the search needs

    def family(self) -> list[psutil.Process]:
        """The processes of this driver's Ray."""
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def processes(self, title: str) -> list[psutil.Process]:
        """Processes of this driver's Ray whose title holds `title`."""
        return [each for each in self.family() if title in title_of(each)]


def title_of(process: psutil.Process) -> str:
    """The command line of a process; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
