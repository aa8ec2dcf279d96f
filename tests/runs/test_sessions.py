import json
import time
from datetime import datetime, timezone
from pathlib import Path

import pytest

from multinas_ray.errors import StateError
from multinas_ray.runs import sessions
from multinas_ray.runs.sessions import RunSession
from tests.support.calls import calls_of
from tests.support.stores import place_in_memory


@pytest.fixture
def run_path(tmp_path):
    return str(tmp_path / "run")


def test_sessions_are_numbered_from_nought(run_path):
    assert [RunSession.begin(run_path).number for _ in range(3)] == [0, 1, 2]
    assert sorted(file.name for file in Path(run_path, "sessions").iterdir()) == [
        "0000.json",
        "0001.json",
        "0002.json",
    ]


def test_a_session_notes_when_it_started_and_where(run_path):
    before = datetime.now(timezone.utc)
    RunSession.begin(run_path)
    RunSession.begin(run_path)
    note = json.loads(Path(run_path, "sessions", "0001.json").read_text())
    assert set(note) == {"schema_version", "session", "started", "host", "checksum"}
    assert note["session"] == 1
    assert before <= datetime.fromisoformat(note["started"]) <= datetime.now(timezone.utc)


def test_of_two_drivers_that_start_in_the_same_instant_one_is_refused(run_path, monkeypatch):
    RunSession.begin(run_path)
    (first,) = Path(run_path, "sessions").iterdir()
    before = first.read_text()
    monkeypatch.setattr(sessions, "list_files", lambda path, suffix: [])  # as it was before the other's note
    with pytest.raises(StateError) as caught:
        RunSession.begin(run_path)
    assert str(caught.value) == (
        f"another driver has resumed {run_path} at the same moment: let the other one run, and start none beside it"
    )
    assert list(Path(run_path, "sessions").iterdir()) == [first]
    assert first.read_text() == before


def test_a_session_deletes_what_killed_writers_have_left(run_path):
    RunSession.begin(run_path)
    folders = [
        Path(run_path, name) for name in ("", "sessions", "evaluations", "distributions", "rounds", "checkpoints")
    ]
    for folder in folders:
        folder.mkdir(exist_ok=True)
        for name in (".0123456789abcdef.tmp", ".of-somebody-else.tmp", "0123456789abcdef.tmp"):
            (folder / name).touch()
    RunSession.begin(run_path)
    for folder in folders:
        assert sorted(file.name for file in folder.glob("*.tmp")) == [".of-somebody-else.tmp", "0123456789abcdef.tmp"]


def test_a_deleted_note_gives_no_number_twice(run_path):
    RunSession.begin(run_path)
    RunSession.begin(run_path)
    Path(run_path, "sessions", "0000.json").unlink()
    assert RunSession.begin(run_path).number == 2


@pytest.mark.parametrize("num_newer", [1, 2])
def test_a_session_stops_once_another_driver_has_taken_the_run_up(run_path, num_newer):
    session = RunSession.begin(run_path)
    session.check_newest()
    newest = [RunSession.begin(run_path) for _ in range(num_newer)][-1]
    with pytest.raises(StateError) as caught:
        session.check_newest()
    assert str(caught.value) == (
        f"another driver has resumed {run_path} (session 1 or later, this one is 0): this one stops, so that no "
        "evaluation is recorded twice"
    )
    newest.check_newest()


def test_files_of_other_names_are_no_sessions(run_path):
    RunSession.begin(run_path)
    Path(run_path, "sessions", "notes.json").write_text("")
    Path(run_path, "sessions", "1.json").write_text("")
    assert RunSession.begin(run_path).number == 1


def test_a_look_for_a_successor_lists_no_folder_and_is_cheap(run_path, monkeypatch):
    session = RunSession.begin(run_path)
    monkeypatch.setattr(sessions, "list_files", lambda *arguments: pytest.fail("the folder was listed"))
    assert calls_of(session.check_newest) < 100


def test_in_an_object_store_a_look_comes_once_a_second(monkeypatch):
    now, looks = [100.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    session = RunSession.begin(place_in_memory("run"))

    def looked(place):
        looks.append(now[0])
        return False

    monkeypatch.setattr(sessions, "exists", looked)
    for _ in range(5):
        session.check_newest()
        now[0] += 0.4
    assert looks == pytest.approx([100.0, 101.2])


@pytest.mark.parametrize(
    ("store", "least"), [(False, sessions.LOCAL_WAIT_SECONDS), (True, sessions.STORE_WAIT_SECONDS)]
)
def test_a_successor_waits_until_its_predecessor_cannot_write_any_more(run_path, monkeypatch, store, least):
    """A write that began before the note ends within this time; none begins later than one look after it."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    path = place_in_memory("run") if store else run_path
    RunSession.begin(path)
    assert waits == []
    RunSession.begin(path)
    assert waits == [least]
    assert least > (sessions.STORE_CHECK_SECONDS if store else 0)
