"""Ends the processes of a Ray after the driver that has started it, whatever has ended the driver.

Ray's own processes notice a driver that was killed, but those of workers and agents wait for the head process, which is
gone too, for a minute or for ever. Each inherits a variable of the environment, by which they are found. The file runs
as a script too, and imports nothing of this package, so that it takes little time and memory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MARK = "MULTINAS_RAY_OWNER"
"""The variable. A driver that another driver has started sets it anew for its own Ray."""
LOOK_SECONDS, MOST_SECONDS = 0.5, 10.0
"""Time between two looks for the driver, and the longest time in which its processes are ended."""
_PROCESSES = Path("/proc")


class Reaper:
    """A process that waits for the end of this one. Where the system has no /proc, nothing is done."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Mark what is started within it, and all that this starts, and wait for the end of this process."""
        if not (_PROCESSES / "self" / "environ").exists():
            yield
            return
        os.environ[MARK] = self._mark
        try:
            words = [sys.executable, "-I", "-S", str(Path(__file__).resolve()), self._mark, str(os.getpid())]
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, start_new_session=True)
            yield
        finally:
            os.environ.pop(MARK, None)  # the processes of other services, as W&B's, end in their own time

    def end(self) -> None:
        """End all marked processes that are left."""
        if self._process is not None:
            end_marked(self._mark)
            self._process.wait()
            self._process = None


def marked(mark: str) -> list[int]:
    """Processes that have inherited a mark; this one is none of them."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for each in _PROCESSES.iterdir():
        if each.name.isdecimal() and int(each.name) != os.getpid():
            with suppress(OSError):  # it has ended, or is of another user
                if wanted in (each / "environ").read_bytes().split(b"\0"):
                    found.append(int(each.name))
    return found


def end_marked(mark: str) -> None:
    """End all processes with a mark, and what they start meanwhile."""
    deadline = time.monotonic() + MOST_SECONDS
    while (left := marked(mark)) and time.monotonic() < deadline:
        for process in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def wait_and_end(mark: str, driver: int) -> None:
    """Wait for the end of the process that has started this one, and end those that it has marked."""
    while os.getppid() == driver:
        time.sleep(LOOK_SECONDS)
    end_marked(mark)


if __name__ == "__main__":
    wait_and_end(sys.argv[1], int(sys.argv[2]))
