"""A command as a user starts it, and all processes that come of it."""

import re
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

END_SECONDS, GONE_SECONDS = 300.0, 30.0


def descendants() -> list[psutil.Process]:
    """All processes below this one, with those whose parents have ended."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def title_of(process: psutil.Process) -> str:
    """The command line of a process; empty if it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


class Command:
    """A command in a process group of its own, as a terminal makes it.

    Args:
        words: the command.
        environment: its environment.
        folder: what it works on.
        disk: the disk that holds this folder.
    """

    def __init__(self, words: Sequence[str], environment: dict[str, str], folder: Path, disk: Path) -> None:
        self.folder, self.disk = folder, disk
        self.printed = disk.parent / "printed.txt"
        with self.printed.open("wb") as stream:
            self.process = subprocess.Popen(
                words, env=environment, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True
            )

        self._bytes_before: int | None = None

    def grows(self, *names: str) -> bool:
        """Whether files in folders of these names have changed their sizes since the first question."""
        found = 0
        for file in self.folder.rglob("*"):
            if set(names) & {*file.relative_to(self.folder).parts}:
                with suppress(OSError):
                    found += file.stat().st_size
        if self._bytes_before is None:
            self._bytes_before = found
        return found != self._bytes_before

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def processes(self, title: str) -> list[psutil.Process]:
        """Processes in whose titles the expression `title` is found."""
        return [each for each in descendants() if re.search(title, title_of(each))]

    def end(self) -> tuple[int, str]:
        """Wait for its end; returns its status and what it has printed."""
        status = self.process.wait(timeout=END_SECONDS)
        return status, self.printed.read_text(encoding="utf-8", errors="replace")


def left_behind(may_stay: Callable[[psutil.Process], bool]) -> list[str]:
    """What is still running some time later, by process id and title, but for what may stay."""
    deadline = time.monotonic() + GONE_SECONDS
    while True:
        left = [each for each in descendants() if not may_stay(each)]
        if not left or time.monotonic() > deadline:
            return [f"{each.pid} {title_of(each)[:80]}" for each in left]
        time.sleep(0.5)
