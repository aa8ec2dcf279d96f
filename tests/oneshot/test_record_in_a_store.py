"""The record of a search in an object store, which is written by way of a disk of the driver's machine."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from multinas_ray import storage
from multinas_ray.errors import StateError, StorageError
from multinas_ray.oneshot import record as record_module
from multinas_ray.runs import load_run, make_recorded_optimizer, proposals_of, verify_run
from multinas_ray.runs.unsent import unsent_folder
from multinas_ray.storage import tables
from tests.oneshot.recorded_search import Crash, RecordedSearch
from tests.support.narrow import present

NEVER = 1e6
STAGES = ("before append", "after append", "after tell", "after observe")


@pytest.fixture
def config(make_config, bucket, monkeypatch):
    """A search in a bucket whose record is uploaded only when a test asks for it."""
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", -1.0)
    return make_config("s3://bucket/runs", upload_seconds=NEVER)


@pytest.fixture(autouse=True)
def first_machine(tmp_path, monkeypatch):
    move_to(tmp_path / "first", monkeypatch)


def move_to(machine, monkeypatch):
    """What begins from now on begins on another machine."""
    monkeypatch.setenv("XDG_STATE_HOME", str(machine))


def crashed(config, number, uploaded, crash_at):
    """A driver that is killed at a stage of a round, after the rounds up to `uploaded` came into the store."""
    search = RecordedSearch(config, number, crash_at)
    append = search.record.append

    def append_and_upload(finished):
        append(finished)
        if finished.round.number == uploaded:
            upload(search)

    vars(search.record)["append"] = append_and_upload
    with pytest.raises(Crash):
        search.run()
    assert load_run(config.run_path).evaluations["round"].max() == uploaded
    return search


def upload(search):
    search.record._record.flush()


def check_whole(config, search):
    """All 12 rounds of 4 evaluations are in the store once, and give the distributions to the bit."""
    run = load_run(config.run_path)
    rows = run.evaluations
    assert rows["tell_order"].tolist() == list(range(48))
    assert rows["id"].is_unique
    assert rows["round"].tolist() == [2 + number // 4 for number in range(48)]
    assert run.rounds["round"].tolist() == list(range(14))
    replayed = make_recorded_optimizer(run.path, run.config)
    replayed.tell(proposals_of(rows), rows["loss"].to_numpy(), rows["complexity"].to_numpy())
    assert np.array_equal(search.optimizer.probs, replayed.probs)
    found = verify_run(config.run_path)
    assert found.holds, found.summary()


def test_a_round_asks_the_store_nothing_and_is_on_the_disk_at_once(config, bucket):
    search = RecordedSearch(config, 0)
    bucket.uses.clear()
    search.run()
    assert threading.current_thread().name not in bucket.uses
    assert len(load_run(config.run_path).evaluations) == 0
    (journal,) = Path(str(unsent_folder(config.run_path, 0)), "evaluations").iterdir()
    assert len(journal.read_text().splitlines()) == 1 + 12
    search.finish()
    search.record.close()
    check_whole(config, search)
    assert not Path(str(unsent_folder(config.run_path, 0))).exists()


def test_rounds_go_to_the_store_beside_the_search(make_config, bucket):
    config = make_config("s3://bucket/runs", upload_seconds=0.02)
    search = RecordedSearch(config, 0, ("before append", 8))
    with pytest.raises(Crash):
        search.run()
    deadline = time.monotonic() + 20
    while len(load_run(config.run_path).evaluations) < 24:
        assert time.monotonic() < deadline, "nothing was uploaded"
        time.sleep(0.02)
    assert "upload" in bucket.uses
    search.record.close()


@pytest.mark.parametrize(("stage", "uploaded"), [*((each, 5) for each in STAGES), ("after append", 9)])
def test_the_same_machine_takes_up_what_was_not_sent(config, stage, uploaded):
    crashed(config, 0, uploaded, (stage, 9))
    resumed = RecordedSearch(config, 1)
    assert resumed.first_round == (9 if stage == "before append" else 10)
    resumed.run().finish()
    check_whole(config, resumed)


def test_a_crash_while_rows_are_taken_up_doubles_none(config, monkeypatch):
    crashed(config, 0, 5, ("after tell", 9))

    def crash(_):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete_folder", crash)
        with pytest.raises(Crash):
            RecordedSearch(config, 1)
    resumed = RecordedSearch(config, 2)
    assert resumed.first_round == 10
    resumed.run().finish()
    check_whole(config, resumed)


def test_another_machine_goes_on_from_the_store_and_the_first_one_drops_what_it_had(config, monkeypatch, tmp_path):
    crashed(config, 0, 5, ("after append", 9))
    move_to(tmp_path / "second", monkeypatch)
    assert RecordedSearch(config, 1).first_round == 6
    crashed(config, 2, 7, ("after observe", 10))
    move_to(tmp_path / "first", monkeypatch)
    third = RecordedSearch(config, 3)
    assert third.first_round == 8
    third.run().finish()
    check_whole(config, third)


def test_a_run_of_the_same_name_in_another_store_gets_no_foreign_rows(config, bucket):
    """So does one that was deleted and is begun anew."""
    crashed(config, 0, 5, ("after append", 9))
    bucket.file_system.delete_dir("bucket/runs")
    search = RecordedSearch(config, 0)
    search.run().finish()
    check_whole(config, search)


@pytest.mark.parametrize("is_here", [True, False])
def test_a_driver_whose_run_was_resumed_stops_and_sends_nothing(config, monkeypatch, tmp_path, is_here):
    search = crashed(config, 0, 5, ("after append", 7))
    search.crash_at = (None, None)
    if not is_here:
        move_to(tmp_path / "second", monkeypatch)
    other = RecordedSearch(config, 1)
    assert other.first_round == (8 if is_here else 6)
    move_to(tmp_path / "first", monkeypatch)
    search.record._record.session._checked_seconds = -1e9  # a second has gone by
    text = r"another driver has resumed .* \(session 1 or later, this one is 0\): this one stops"
    if is_here:
        with pytest.raises(StateError, match=text):
            search.record.save(8)
        with pytest.raises(StateError, match=text):
            search.record._record.append_round({})
    else:
        present(search.record._record._uploads)._try()
        with pytest.raises(StateError, match=text):
            search.record._record.append_round({})
        with pytest.raises(StateError, match=text):
            search.record.close()
        move_to(tmp_path / "second", monkeypatch)
    other.run().finish()
    check_whole(config, other)


def test_a_store_that_refuses_for_a_while_ends_nothing(config, bucket, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    search = RecordedSearch(config, 0, ("before append", 9))
    bucket.refuses = True
    with pytest.raises(Crash):
        search.run()
    sender = present(search.record._record._uploads)
    for _ in range(3):
        sender._try()
        now[0] += 25.0
    with pytest.raises(StorageError, match="the store cannot be reached"):
        sender.check()
    bucket.refuses = False
    sender._try()
    sender.check()
    assert load_run(config.run_path).evaluations["round"].max() == 8


def test_a_part_whose_upload_was_answered_by_an_error_is_not_there_twice(config, monkeypatch):
    """The store has taken it, and the answer was lost."""
    write, calls = storage.write_atomic, []

    def lose_the_answer(*given, **named):
        write(*given, **named)
        calls.append(given)
        if len(calls) == 1:
            raise StorageError("the connection was lost")

    search = RecordedSearch(config, 0, ("before append", 9))
    with pytest.raises(Crash):
        search.run()
    monkeypatch.setattr(tables, "write_atomic", lose_the_answer)
    with pytest.raises(StorageError):
        upload(search)
    upload(search)
    search.crash_at = (None, None)
    search.finish()
    rows = load_run(config.run_path).evaluations
    assert rows["tell_order"].tolist() == list(range(28))
    assert len(calls) > 3
