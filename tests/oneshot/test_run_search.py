import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from rich.console import Console

from multinas_ray.cluster import HeadWatch, Interrupts, SideMatters, SpotNotice, Trackers
from multinas_ray.errors import RunError, StateError, StorageError, UnreadableError
from multinas_ray.oneshot import running as run_module
from multinas_ray.oneshot.driver import Driver
from multinas_ray.oneshot.messages import Ending, LostSteps
from multinas_ray.runs import write_config, write_finished
from multinas_ray.storage import make_folder
from tests.support.narrow import printed


class WatchedDriver:
    """What the driver looks at and whom it tells; `stops` holds what was told, the console what is printed."""

    def __init__(self):
        self.stops: list[str] = []
        self.notes: list[object] = []
        self.lost_steps: list[int] = []
        self.console = Console(file=io.StringIO(), width=200)
        self._side = SideMatters(self.console)
        self._notes = SimpleNamespace(read=lambda: self.notes.pop(0) if self.notes else None)
        self._group = SimpleNamespace(is_running=True)
        self._search = SimpleNamespace(error=None, stop=lambda: self.stops.append("searcher"))
        self._broker = SimpleNamespace(stop=SimpleNamespace(remote=self._stop_broker))
        self._metrics = SimpleNamespace(tick=lambda: None, write=lambda: None)
        self._head = SimpleNamespace(check=lambda: None)
        self._interrupts = Interrupts(lambda: None)
        self._run_session = SimpleNamespace(add_lost_steps=self.lost_steps.append)
        self._stopped_for = (False, False)

    def _stop_broker(self, *, workers_are_gone):
        self.stops.append("broker, no workers" if workers_are_gone else "broker")

    def interrupt(self):
        self._interrupts._handle(2, None)

    def _take_note(self, note):
        watched: Any = self
        Driver._take_note(watched, note)

    def watch(self):
        """Some steps of Tune's loop; returns who was told to stop in them."""
        self.stops.clear()
        watched: Any = self
        for _ in range(5):
            Driver._watch(watched)
        return self.stops


@pytest.fixture
def driver():
    return WatchedDriver()


def test_a_search_that_goes_well_is_not_stopped(driver):
    assert driver.watch() == []


def test_an_interrupt_is_told_once(driver):
    driver.watch()
    driver.interrupt()
    assert driver.watch() == ["searcher", "broker"]
    assert driver.watch() == []


def test_an_error_is_told_once_with_an_interrupt_or_without(driver):
    driver._search.error = RuntimeError("disk full")
    assert driver.watch() == ["searcher", "broker"]
    driver.interrupt()
    assert driver.watch() == []


def test_the_end_of_the_workers_is_told_once(driver):
    driver._group.is_running = False
    assert driver.watch() == ["searcher", "broker, no workers"]
    assert driver.watch() == []


def test_workers_that_go_after_an_interrupt_are_told_too(driver):
    driver.interrupt()
    driver.watch()
    driver._group.is_running = False
    assert driver.watch() == ["searcher", "broker, no workers"]
    assert driver.watch() == []


def test_metrics_that_fail_are_told_once_and_stop_nothing(driver):
    def fail():
        raise UnicodeEncodeError("ascii", "é", 0, 1, "no")

    driver._metrics.tick = fail
    assert driver.watch() == []
    assert printed(driver.console).count("Writing the metrics failed") == 1


def test_a_nodes_notice_is_printed_in_a_line_and_stops_nothing(driver):
    driver.notes = [SpotNotice("10.0.0.7", 118.0), SpotNotice("10.0.0.8", 30.0)]
    assert driver.watch() == []
    lines = printed(driver.console).splitlines()
    assert [line.split(" back ")[0] for line in lines] == [
        "Spot notice: the cloud takes the node 10.0.0.7",
        "Spot notice: the cloud takes the node 10.0.0.8",
    ]
    assert driver.lost_steps == []


def test_lost_weight_steps_are_printed_and_recorded(driver):
    driver.notes = [LostSteps(weights_round=30, number=4)]
    driver.watch()
    assert "4 weight steps since the last checkpoint are lost" in printed(driver.console)
    assert driver.lost_steps == [4]


class EndingDriver(WatchedDriver):
    """Notes the steps of its ending; those named in `failing` fail."""

    def __init__(self, failing=()):
        super().__init__()
        self.steps, self._failing = [], failing
        self._curves = SimpleNamespace(close=lambda: self.note("curves"))
        self._view = SimpleNamespace(close=lambda: self.note("view"))
        self._metrics = SimpleNamespace(write=lambda: self.note("metrics"))
        self._record = SimpleNamespace(close=lambda: self.note("record"))

    def note(self, step):
        self.steps.append(step)
        if step in self._failing:
            raise self._failing[step]

    def _dismiss_workers(self, ending, patience_seconds):
        self.note("dismiss")

    def _read_notes(self):
        self.note("notes")

    def _end_workers(self):
        self.note("workers")

    def _write_metrics(self):
        watched: Any = self
        Driver._write_metrics(watched)

    def _steps(self, ending, patience_seconds):
        watched: Any = self
        return Driver._steps(watched, ending, patience_seconds)


ALL_STEPS = ["dismiss", "notes", "workers", "broker", "metrics", "curves", "view", "record"]


@pytest.fixture
def leave(monkeypatch):
    def run(driver, patience_seconds=1.0):
        monkeypatch.setattr(ray, "kill", lambda _: driver.note("broker"))
        Driver._leave(driver, Ending(), patience_seconds)
        return driver.steps

    return run


@pytest.mark.parametrize("failing", ALL_STEPS)
@pytest.mark.parametrize("error", [OSError(28, "no space left"), ray.exceptions.GetTimeoutError("late")])
def test_each_step_of_the_ending_is_taken_whatever_befalls_the_others(leave, failing, error):
    assert leave(EndingDriver({failing: error})) == ALL_STEPS


@pytest.mark.parametrize("failing", ALL_STEPS)
def test_an_interrupt_of_the_ending_comes_out_after_all_steps(leave, failing):
    driver = EndingDriver({failing: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        leave(driver)
    assert driver.steps == ALL_STEPS


@pytest.mark.parametrize(
    ("error", "may_save"),
    [
        (RuntimeError("a bug"), True),
        (RunError("too many failures"), True),
        (StorageError("the disk is full"), True),
        (UnreadableError("a file is missing"), True),
        (StateError("another driver has resumed the run"), False),
    ],
)
def test_after_an_error_workers_save_unless_the_run_may_belong_to_another_driver(error, may_save):
    assert Driver._may_save(error) is may_save


def test_in_haste_workers_are_not_waited_for(leave):
    assert leave(EndingDriver(), patience_seconds=0.0) == ALL_STEPS[1:]


@pytest.fixture
def dismiss(monkeypatch):
    """Ends a session; returns whether the group was waited for and what was printed."""

    def run(*, are_workers_there, is_interrupted):
        monkeypatch.setattr(ray, "get", lambda value, timeout: value)
        driver: Any = WatchedDriver()
        waits = []

        def join(timeout_seconds):
            waits.append(timeout_seconds)
            return True

        driver._broker.end = SimpleNamespace(remote=lambda ending: are_workers_there)
        driver._group.join = join
        if is_interrupted:
            driver.interrupt()
        Driver._dismiss_workers(driver, Ending(), 300.0)
        return bool(waits), printed(driver.console).strip()

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

    def run(*, supernet, search_ends=True, choosing=None, finished=False, chosen=False):
        config = make_config()
        write_config(config.run_path, config.to_dict())
        if supernet:
            (Path(config.run_path) / "supernet.pt").touch()
        if chosen:
            (Path(config.run_path) / "architectures.parquet").touch()

        def choose(config, console, restarts):
            done.append(f"choose, restarts {restarts}")
            if finished:
                (Path(config.run_path) / "finished.json").touch()
            if choosing is not None:
                raise choosing

        def search():
            done.append("search")
            return search_ends

        monkeypatch.setattr(run_module, "is_supernet_damaged", lambda _: False)
        monkeypatch.setattr(run_module, "repair_run", lambda _: [])
        monkeypatch.setattr(run_module, "drop_damaged_family", lambda *_: done.append("look at the networks"))
        monkeypatch.setattr(run_module, "Driver", lambda *arguments: SimpleNamespace(run=search))
        monkeypatch.setattr(run_module, "choose_and_finish", choose)
        console = Console(file=io.StringIO())
        run_module._search_and_choose(config, Trackers(), console, HeadWatch())
        return [*done, *printed(console).split(".")[:1]]

    return run


def test_a_search_that_ends_is_followed_by_the_choice(phases):
    assert phases(supernet=False)[:2] == ["search", "choose, restarts 0"]


def test_an_interrupted_search_chooses_nothing(phases):
    assert phases(supernet=False, search_ends=False)[:2] == ["search", ""]


def test_with_the_trained_supernet_there_only_the_choice_is_left(phases):
    assert phases(supernet=True)[:2] == ["choose, restarts 0", ""]


def test_networks_of_a_choice_that_was_cut_off_are_looked_at_before_the_next(phases):
    assert phases(supernet=True, chosen=True)[:2] == ["look at the networks", "choose, restarts 0"]


@pytest.mark.parametrize("damage", [None, "candidates.parquet is damaged"])
def test_a_finished_run_whose_networks_are_damaged_is_not_finished(make_config, monkeypatch, damage):
    config, console = make_config(), Console(file=io.StringIO())
    make_folder(config.run_path)
    write_finished(config.run_path, {})
    asked = []

    def drop(*arguments):
        asked.append(arguments)
        return damage

    monkeypatch.setattr(run_module, "repair_damage", lambda _: [])
    monkeypatch.setattr(run_module, "make_picture", lambda *_: None)
    monkeypatch.setattr(run_module, "load_run", lambda _: SimpleNamespace())
    monkeypatch.setattr(run_module, "drop_damaged_family", drop)
    assert (run_module._finished_run(config, console) is None) == (damage is not None)
    assert asked == [(config.run_path, config.space)]
    assert ("The networks are chosen again" in printed(console)) == (damage is not None)


def test_an_interrupt_of_the_choice_ends_in_good_order(phases):
    done = phases(supernet=True, choosing=KeyboardInterrupt())
    assert done == ["choose, restarts 0", "Interrupted while the networks were being chosen"]


def test_an_interrupt_of_the_picture_tells_that_the_networks_are_chosen(phases):
    done = phases(supernet=True, choosing=KeyboardInterrupt(), finished=True)
    assert done == ["choose, restarts 0", "Interrupted after the networks were chosen"]


def test_workers_that_failed_too_often_are_told_with_the_last_cause(driver):
    driver._group.error = RuntimeError("no memory")
    driver._config = SimpleNamespace(max_worker_failures=3)
    with pytest.raises(RunError, match="more often than max_worker_failures=3, the last time: "):
        Driver._raise_errors(driver)


@pytest.mark.parametrize("is_running", [True, False])
def test_workers_that_are_left_are_ended(driver, is_running):
    done = []
    driver._group = SimpleNamespace(
        is_running=is_running, end=lambda: done.append("end"), join=lambda seconds: done.append("join")
    )
    Driver._end_workers(driver)
    assert done == (["end", "join"] if is_running else [])
