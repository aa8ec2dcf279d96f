import json
from datetime import datetime, timezone
from pathlib import Path

import pytest

from multinas_ray.errors import StateError
from multinas_ray.runs import sessions
from multinas_ray.runs.sessions import RunSession


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
    assert set(note) == {"session", "started", "host"}
    assert note["session"] == 1
    assert before <= datetime.fromisoformat(note["started"]) <= datetime.now(timezone.utc)


def test_of_two_drivers_that_start_in_the_same_instant_one_is_refused(run_path, monkeypatch):
    RunSession.begin(run_path)
    (first,) = Path(run_path, "sessions").iterdir()
    before = first.read_text()
    monkeypatch.setattr(sessions, "list_files", lambda path, suffix: [])  # as it was before the other's note
    with pytest.raises(StateError) as caught:
        RunSession.begin(run_path)
    assert str(caught.value) == f"{run_path} was just taken up by another driver; let that one go on alone"
    assert list(Path(run_path, "sessions").iterdir()) == [first]
    assert first.read_text() == before


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
        f"another driver has taken {run_path} up (session {num_newer}, this one is 0); "
        "this one stops, so that no evaluation is recorded twice"
    )
    newest.check_newest()
