"""What a run can do without: metrics, curves, pictures, the terminal. Failures are told once and end nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from rich.console import Console, RenderableType

from multinas_ray.errors import FAILURES, first_line

GONE = (OSError, ValueError, LookupError, SystemExit)
"""What printing raises where a terminal is closed, full, or of an encoding that Python does not know. Rich raises
SystemExit where the reader of a pipe has ended, and prints nothing from then on."""


class SideMatters:
    """Does what may fail without harm. What has failed is left out from then on.

    Args:
        console: where a failure is told, if the console itself can.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._failed: set[str] = set()

    def do(self, name: str, action: Callable[[], object]) -> bool:
        """Do something unless it has failed before; returns whether it was done.

        Args:
            name: what it is for the person, such as "the curves of TensorBoard".
            action: what is done. Whatever exception it raises is told.
        """
        if name in self._failed:
            return False
        try:
            action()
        except FAILURES as error:  # a side matter may raise anything, and none is worth the search
            self._failed.add(name)
            self.say(f"{name[0].upper()}{name[1:]} failed ({first_line(error)}). All else goes on.")
            return False
        return True

    def close(self, name: str, action: Callable[[], object]) -> None:
        """Do what ends something, even if it has failed before; that it fails again is not told again."""
        was_failed = name in self._failed
        self._failed.discard(name)
        if not was_failed:
            self.do(name, action)
            return
        with suppress(*FAILURES):
            action()

    def say(self, text: str) -> None:
        """Print a line as it is."""
        say(self._console, text)


def say(console: Console, text: str) -> None:
    """Print a line as it is, in the characters that the terminal can show. A terminal that is gone is ignored."""
    try:
        encoding = console.encoding
        text = text.encode(encoding, "replace").decode(encoding)
        console.print(text, soft_wrap=True, highlight=False, markup=False, emoji=False)
    except GONE:
        return


def show(console: Console, what: RenderableType) -> None:
    """Print a table, with question marks for what the terminal cannot show. A terminal that is gone is ignored."""
    try:
        console.print(what)
    except UnicodeEncodeError:
        with console.capture() as captured:
            console.print(what)
        for line in captured.get().splitlines():
            say(console, line)
    except GONE:
        return
