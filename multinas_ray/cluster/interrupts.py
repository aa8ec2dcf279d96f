"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second for the end at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class EndedAtOnce(Exception):  # noqa: N818  # it is no error
    """The person does not want to wait. Unlike KeyboardInterrupt it lets Tune clean up."""


class Interrupts:
    """Takes Ctrl-C and SIGTERM while it is entered; elsewhere than in the main thread it takes none.

    Args:
        tell: called at the first.
    """

    def __init__(self, tell: Callable[[], object]) -> None:
        self._tell = tell
        self._number = 0
        self._loops = 0

    @property
    def is_asked(self) -> bool:
        """Whether there was one."""
        return self._number > 0

    def check(self) -> None:
        """Call it in each step of a `loop`.

        Raises:
            EndedAtOnce: there were two.
        """
        if self._number > 1:
            raise EndedAtOnce

    @contextmanager
    def loop(self) -> Iterator[None]:
        """Within it the second one waits for `check`; elsewhere it raises KeyboardInterrupt, and so does the third."""
        self._loops += 1
        try:
            yield
        except EndedAtOnce:
            raise KeyboardInterrupt from None
        finally:
            self._loops -= 1

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take the signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._number += 1
        if self._number == 1:
            self._tell()
        elif self._number > 2 or not self._loops:
            raise KeyboardInterrupt


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, with which batch systems and containers end a program, do what Ctrl-C does at that moment.

    Ray takes the signal when it starts, and its own handler ends in a segmentation fault.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            handler(signal.SIGINT, frame)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
