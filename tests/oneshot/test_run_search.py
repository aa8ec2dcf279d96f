import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from rich.console import Console

from multinas_ray.cluster import SpotNotice
from multinas_ray.oneshot import running as run_module
from multinas_ray.oneshot.messages import Ending
from multinas_ray.oneshot.running import _Session
from multinas_ray.runs import write_config
from tests.support.narrow import printed


class WatchedSession:
    """What `_watch` looks at and whom it tells; `stops` holds what was told, the console what is printed."""

    def __init__(self):
        self.stops: list[str] = []
        self.notices: list[SpotNotice] = []
        self._console = Console(file=io.StringIO(), width=200)
        self._notices = SimpleNamespace(read=lambda: self.notices.pop(0) if self.notices else None)
        self._group = SimpleNamespace(is_running=True)
        self._search = SimpleNamespace(error=None, stop=lambda: self.stops.append("searcher"))
        self._broker = SimpleNamespace(stop=SimpleNamespace(remote=self._stop_broker))
        self._metrics = SimpleNamespace(tick=lambda: None, write=lambda: None)
        self._interrupted = threading.Event()
        self._stopped_for = (False, False)

    def _stop_broker(self, *, workers_are_gone):
        self.stops.append("broker, no workers" if workers_are_gone else "broker")

    def watch(self):
        """Some steps of Tune's loop; returns who was told to stop in them."""
        self.stops.clear()
        watched: Any = self
        for _ in range(5):
            _Session._watch(watched)
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


def test_a_nodes_notice_is_printed_in_a_line_and_stops_nothing(session):
    session.notices = [SpotNotice("10.0.0.7", 118.0), SpotNotice("10.0.0.8", 30.0)]
    assert session.watch() == []
    lines = printed(session._console).splitlines()
    assert [line.split(" back ")[0] for line in lines] == [
        "Spot notice: the cloud takes the node 10.0.0.7",
        "Spot notice: the cloud takes the node 10.0.0.8",
    ]


@pytest.fixture
def dismiss(monkeypatch):
    """Ends a session; returns whether the group was waited for and what was printed."""

    def run(*, are_workers_there, is_interrupted):
        monkeypatch.setattr(ray, "get", lambda value: value)
        session: Any = WatchedSession()
        waits = []

        def join(timeout_seconds):
            waits.append(timeout_seconds)
            return True

        session._curves = SimpleNamespace(close=lambda: None)
        session._broker.end = SimpleNamespace(remote=lambda ending: are_workers_there)
        session._group.join = join
        if is_interrupted:
            session._interrupted.set()
        _Session._dismiss_workers(session, Ending())
        return bool(waits), printed(session._console).strip()

    return run


def test_an_interrupt_does_not_wait_for_a_group_that_has_lost_a_worker(dismiss):
    lost = "A worker is lost, so the weights are those of the last checkpoint."
    assert dismiss(are_workers_there=False, is_interrupted=True) == (False, lost)
    assert dismiss(are_workers_there=True, is_interrupted=True) == (True, "")


def test_at_the_end_of_a_search_a_lost_worker_is_waited_for(dismiss):
    """Its weights are the result."""
    assert dismiss(are_workers_there=False, is_interrupted=False) == (True, "")


@pytest.fixture
def phases(monkeypatch, make_config):
    """Runs the two phases with stand-ins; returns what was done. `search_ends`: what the search's session tells."""
    done = []

    def run(*, supernet, search_ends=True, choosing=None):
        config = make_config()
        write_config(config.run_path, config.to_dict())
        if supernet:
            (Path(config.run_path) / "supernet.pt").touch()

        def choose(config, console, restarts):
            done.append(f"choose, restarts {restarts}")
            if choosing is not None:
                raise choosing

        def search():
            done.append("search")
            return search_ends

        monkeypatch.setattr(run_module, "_Session", lambda *arguments: SimpleNamespace(run=search))
        monkeypatch.setattr(run_module, "choose_and_finish", choose)
        console = Console(file=io.StringIO())
        run_module._search_and_choose(config, console)
        return [*done, *printed(console).split(".")[:1]]

    return run


def test_a_search_that_ends_is_followed_by_the_choice(phases):
    assert phases(supernet=False)[:2] == ["search", "choose, restarts 0"]


def test_an_interrupted_search_chooses_nothing(phases):
    assert phases(supernet=False, search_ends=False)[:2] == ["search", ""]


def test_with_the_trained_supernet_there_only_the_choice_is_left(phases):
    assert phases(supernet=True)[:2] == ["choose, restarts 0", ""]


def test_an_interrupt_of_the_choice_ends_in_good_order(phases):
    done = phases(supernet=True, choosing=KeyboardInterrupt())
    assert done == ["choose, restarts 0", "Interrupted while the networks were being chosen"]
