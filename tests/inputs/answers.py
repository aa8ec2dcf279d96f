"""How a call answers an input: a right result, an error of ours in one clear line, or a fault."""

import re
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from multinas_ray.errors import MultiNASError

SECONDS, CPU_SECONDS, BYTES = 60, 10, 4 << 30
"""What one call may take; more memory than this ends it as a MemoryError."""
MOST_CHARACTERS = 1000
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""Characters that end a line or steer a terminal, or that no terminal can show."""

RETURNED, TOLD = "returned", "told"
HANGS, FOREIGN, SILENT, WRONG, UNCLEAR = "hangs", "foreign", "silent", "wrong", "unclear"


class TooLongError(BaseException):
    """The call took longer than its limit; nothing catches it by mistake."""


@dataclass(frozen=True)
class Answer:
    """What became of a call."""

    kind: str
    """RETURNED, TOLD, HANGS, FOREIGN or UNCLEAR."""
    text: str = ""
    """The error."""
    result: Any = None

    @property
    def is_fault(self) -> bool:
        return self.kind not in (RETURNED, TOLD)


@contextmanager
def limits() -> Iterator[None]:
    """End what takes too long or too much memory."""

    def stop(*_: object) -> None:
        raise TooLongError

    before = {each: signal.signal(each, stop) for each in (signal.SIGALRM, signal.SIGPROF)}
    most = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:  # noqa: PTH123 - no file of a folder
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, most[1]))
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        for each, handler in before.items():
            signal.signal(each, handler)
        resource.setrlimit(resource.RLIMIT_AS, most)


def answer(call: Callable[[], Any], names: Sequence[str] = ()) -> Answer:
    """Make a call within its limits.

    Args:
        call: the call.
        names: texts of which an error must hold one.
    """
    try:
        with limits():
            return Answer(RETURNED, result=call())
    except TooLongError:
        return Answer(HANGS, f"no end in {CPU_SECONDS} s of work")
    except MultiNASError as error:
        return judged(str(error), names)
    except BaseException as error:
        return Answer(FOREIGN, f"{type(error).__name__}: {error}"[:300])


def judged(line: str, names: Sequence[str] = ()) -> Answer:
    """Whether a line that tells an error is clear: one line, without controls, and one of the names is in it."""
    if len(line) > MOST_CHARACTERS:
        return Answer(UNCLEAR, f"{len(line)} characters: {line[:200]!r}")
    if CONTROLS.search(line):
        return Answer(UNCLEAR, f"control characters or more than one line: {line[:300]!r}")
    if names and not any(name in line for name in names):
        return Answer(UNCLEAR, f"it names none of {', '.join(names)}: {line[:300]}")
    return Answer(TOLD, line)
