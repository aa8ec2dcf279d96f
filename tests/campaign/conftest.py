"""Processes whose parents end belong to the test, so that none that a search leaves behind is overlooked."""

import ctypes

import pytest

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True, scope="session")
def adopt_orphans() -> None:
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
