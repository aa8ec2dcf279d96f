import threading
from types import SimpleNamespace

import pytest

from multinas_ray.search.run import _Session


class WatchedSession:
    """What `_watch` looks at and whom it tells; `stops` holds what was told."""

    def __init__(self):
        self.stops = []
        self._group = SimpleNamespace(is_running=True)
        self._search = SimpleNamespace(error=None, stop=lambda: self.stops.append("searcher"))
        self._broker = SimpleNamespace(stop=SimpleNamespace(remote=self._stop_broker))
        self._interrupted = threading.Event()
        self._stopped_for = (False, False)

    def _stop_broker(self, *, workers_are_gone):
        self.stops.append("broker, no workers" if workers_are_gone else "broker")

    def watch(self):
        """Some steps of Tune's loop; returns who was told to stop in them."""
        self.stops.clear()
        for _ in range(5):
            _Session._watch(self)
        return self.stops


@pytest.fixture
def session():
    return WatchedSession()


def test_a_search_that_goes_well_is_not_stopped(session):
    assert session.watch() == []


def test_an_interrupt_is_told_once(session):
    session.watch()
    session._interrupted.set()
    assert session.watch() == ["searcher", "broker"]
    assert session.watch() == []


def test_an_error_is_told_once_with_an_interrupt_or_without(session):
    session._search.error = RuntimeError("disk full")
    assert session.watch() == ["searcher", "broker"]
    session._interrupted.set()
    assert session.watch() == []


def test_the_end_of_the_workers_is_told_once(session):
    session._group.is_running = False
    assert session.watch() == ["searcher", "broker, no workers"]
    assert session.watch() == []


def test_workers_that_go_after_an_interrupt_are_told_too(session):
    session._interrupted.set()
    session.watch()
    session._group.is_running = False
    assert session.watch() == ["searcher", "broker, no workers"]
    assert session.watch() == []
