"""Ends the processes of a Ray after the driver that has started it, whatever has ended the driver.

Ray's own processes notice a driver that was killed, but those of workers and agents wait for the head process, which is
gone too, for a minute or for ever. The first processes inherit a variable of the environment, by which they are found;
the others come from these (and some hide their environment behind a title), so who came from whom is noted while it can
be seen. The file runs as a script too, and imports nothing of this package, so that it takes little time and memory.
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
LOOK_SECONDS, MOST_SECONDS = 1.0, 10.0
"""Time between two looks at the processes, and the longest time in which they are ended."""
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
        """End all processes that are left of those that were marked, or came from them."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(2 * MOST_SECONDS)
            Kin(self._mark).end()
            self._process.wait()
            self._process = None


class Kin:
    """The processes with a mark, and all that came from them.

    Args:
        mark: value of the variable `MARK`.
    """

    def __init__(self, mark: str) -> None:
        self._line = f"{MARK}={mark}".encode()
        self._known: set[tuple[int, int]] = set()
        self._others: set[tuple[int, int]] = set()
        self._others_twice: set[tuple[int, int]] = set()  # one that has just been forked has its variables soon

    def look(self) -> set[int]:
        """Note who is there; returns all that are left, but for this process."""
        table = running_processes()
        found = {each for each, (_, start) in table.items() if self._is_kin(each, start)}
        new = found
        while new:
            new = {each for each, (parent, _) in table.items() if parent in new and each not in found}
            found = found | new
        found.discard(os.getpid())
        self._known |= {(each, table[each][1]) for each in found}
        others = {(each, start) for each, (_, start) in table.items()} - self._known
        self._others, self._others_twice = others, others & self._others
        return found

    def _is_kin(self, process: int, start: int) -> bool:
        key = process, start
        return key in self._known or (key not in self._others_twice and self._is_marked(process))

    def _is_marked(self, process: int) -> bool:
        try:
            return self._line in (_PROCESSES / str(process) / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is of another user
            return False

    def end(self) -> None:
        """End all of them, and what they start meanwhile."""
        deadline = time.monotonic() + MOST_SECONDS
        while (left := self.look()) and time.monotonic() < deadline:
            for each in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(each, signal.SIGKILL)
            time.sleep(0.05)


def running_processes() -> dict[int, tuple[int, int]]:
    """The parent and the time of the start of each process that has not ended."""
    table = {}
    for folder in _PROCESSES.iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it has ended meanwhile
                state, parent, *others = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                if state not in (b"Z", b"X"):
                    table[int(folder.name)] = int(parent), int(others[17])
    return table


def wait_and_end(mark: str, driver: int) -> None:
    """Wait for the end of the process that has started this one, or for its request, and end those of the mark."""
    is_asked = False

    def ask(*_: object) -> None:
        nonlocal is_asked
        is_asked = True

    signal.signal(signal.SIGTERM, ask)
    kin = Kin(mark)
    while os.getppid() == driver and not is_asked:
        kin.look()
        time.sleep(LOOK_SECONDS)
    kin.end()


if __name__ == "__main__":
    wait_and_end(sys.argv[1], int(sys.argv[2]))
