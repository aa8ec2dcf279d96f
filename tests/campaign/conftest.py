"""What the commands of a campaign inherit from the process of the tests."""

import ctypes
import signal

import pytest

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True, scope="session")
def adopt_orphans() -> None:
    """Processes whose parents end belong to the test, so that none that a search leaves behind is overlooked."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


@pytest.fixture(autouse=True, scope="session")
def take_interrupts() -> None:
    """As in a terminal; a shell lets its background jobs ignore SIGINT, and their processes inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
