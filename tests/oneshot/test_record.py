import os
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from multinas_ray.errors import StateError
from multinas_ray.oneshot import record as record_module
from multinas_ray.oneshot.record import open_record
from multinas_ray.runs import (
    RunSession,
    load_run,
    make_recorded_optimizer,
    proposals_of,
    read_document,
    verify_run,
)
from multinas_ray.storage import JOURNAL_FOLDER
from tests.oneshot.recorded_search import Crash, RecordedSearch
from tests.support.narrow import present


def replayed(config):
    """An optimiser that was told the whole record, row by row in tell order, and nothing else."""
    run = load_run(config.run_path)
    optimizer, rows = make_recorded_optimizer(run.path, run.config), run.evaluations
    optimizer.tell(proposals_of(rows), rows["loss"].to_numpy(), rows["complexity"].to_numpy())
    return optimizer


def check_record(config, num_evaluations=None):
    """Nothing is there twice and nothing is missing; returns the rows."""
    rows = load_run(config.run_path).evaluations
    assert rows["id"].is_unique
    assert rows["id"].is_monotonic_increasing
    assert rows["tell_order"].tolist() == list(range(len(rows)))
    per_round = rows.groupby("round").size()
    assert (per_round == 4).all()
    assert per_round.index.tolist() == list(range(2, 2 + len(per_round)))
    if num_evaluations is not None:
        assert len(rows) == num_evaluations
    return rows


@pytest.fixture(params=["a snapshot each round", "no snapshot"])
def snapshots(request, monkeypatch):
    seconds = -1.0 if request.param == "a snapshot each round" else 1e9
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", seconds)
    return request.param


def crash_while_writing(monkeypatch, what, count):
    """Die before a file of `what` is there for the count-th time; half of a temporary file stays."""
    replace, seen = Path.replace, []

    def crash(temporary, file):
        if what in str(file):
            seen.append(file)
            if len(seen) == count:
                content = temporary.read_bytes()
                file.with_name(f".{file.name}.1-abcd.tmp").write_bytes(content[: len(content) // 2])
                raise Crash
        return replace(temporary, file)

    monkeypatch.setattr(Path, "replace", crash)


def crash_in_a_line(monkeypatch, count):
    """Die in the middle of the count-th line of the journals, counted with their first ones; half of it stays."""
    write, seen = os.write, []

    def crash(descriptor, data):
        seen.append(data)
        if len(seen) < count:
            return write(descriptor, data)
        write(descriptor, data[: len(data) // 2])
        raise Crash

    monkeypatch.setattr(os, "write", crash)
    monkeypatch.setattr(os, "ftruncate", lambda *arguments: None)


def saved(config):
    return read_document(Path(config.run_path, "state.json"), "-")


STAGES = ("before append", "after append", "after tell", "after observe")


@pytest.mark.parametrize("memory", [0, 2])
@pytest.mark.parametrize("stage", STAGES)
def test_a_crash_at_any_stage_of_a_round_loses_and_doubles_nothing(make_config, snapshots, stage, memory):
    config = make_config(memory=memory)
    with pytest.raises(Crash):
        RecordedSearch(config, 0, (stage, 6)).run()
    on_record = len(check_record(config))
    assert on_record == 4 * (4 if stage == "before append" else 5)
    resumed = RecordedSearch(config, 1)
    assert resumed.first_round == 2 + on_record // 4
    assert resumed.optimizer.num_told == on_record
    assert np.array_equal(resumed.optimizer.probs, replayed(config).probs)
    resumed.run().finish()
    check_record(config, 48)
    assert np.array_equal(resumed.optimizer.probs, replayed(config).probs)
    found = verify_run(config.run_path)
    assert found.holds, found.summary()
    assert found.num_compared == 12
    assert found.largest_difference == 0.0


def test_a_crash_between_distributions_and_snapshot_doubles_no_update(make_config, monkeypatch):
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", -1.0)
    config = make_config()
    with monkeypatch.context() as patch:
        crash_while_writing(patch, "state.json", 7)
        with pytest.raises(Crash):
            RecordedSearch(config, 0).run()
    assert load_run(config.run_path).distributions["update"].max() == 5
    assert saved(config)["next_round"] == 6
    RecordedSearch(config, 1).run().finish()
    found = verify_run(config.run_path)
    assert found.holds, found.summary()
    assert found.num_compared == 12


@pytest.mark.parametrize("what", ["evaluations/", "distributions/", "rounds/", "state.json"])
def test_a_crash_in_the_middle_of_writing_leaves_a_whole_record(make_config, monkeypatch, what):
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", -1.0)
    config = make_config()
    with monkeypatch.context() as patch:
        crash_while_writing(patch, what, 4)
        with pytest.raises(Crash):
            RecordedSearch(config, 0).run()
    resumed = RecordedSearch(config, 1).run()
    resumed.finish()
    check_record(config, 48)
    assert np.array_equal(resumed.optimizer.probs, replayed(config).probs)
    found = verify_run(config.run_path)
    assert found.holds, found.summary()


@pytest.mark.parametrize(("count", "rounds"), [(2, 0), (5, 0), (6, 1), (7, 1), (12, 4)])
def test_a_crash_in_the_middle_of_a_line_leaves_a_whole_record(make_config, monkeypatch, count, rounds):
    """First come the header and two rounds of the warm-up, then a header, and then evaluations and rounds in turn."""
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", 1e9)
    config = make_config()
    with monkeypatch.context() as patch:
        crash_in_a_line(patch, count)
        with pytest.raises(Crash):
            RecordedSearch(config, 0).run()
    assert len(check_record(config)) == 4 * rounds
    resumed = RecordedSearch(config, 1).run()
    resumed.finish()
    check_record(config, 48)
    assert verify_run(config.run_path).holds


def test_many_crashes_in_a_row_lose_and_double_nothing(make_config, snapshots):
    config = make_config(memory=2)
    crashes = [("after append", 3), ("after tell", 4), ("before append", 5), ("after append", 5), ("after observe", 9)]
    for number, crash_at in enumerate(crashes):
        with pytest.raises(Crash):
            RecordedSearch(config, number, crash_at).run()
        check_record(config)
    last = RecordedSearch(config, len(crashes)).run()
    last.finish()
    check_record(config, 48)
    assert np.array_equal(last.optimizer.probs, replayed(config).probs)
    found = verify_run(config.run_path)
    assert found.holds, found.summary()


def test_a_crash_while_resuming_can_be_resumed(make_config, monkeypatch):
    config = make_config()
    with pytest.raises(Crash):
        RecordedSearch(config, 0, ("after append", 8)).run()
    with monkeypatch.context() as patch:
        crash_while_writing(patch, "state.json", 1)
        with pytest.raises(Crash):
            RecordedSearch(config, 1)
    last = RecordedSearch(config, 2).run()
    last.finish()
    check_record(config, 48)
    found = verify_run(config.run_path)
    assert found.holds, found.summary()


def test_an_uninterrupted_record_has_ids_without_gaps(make_config, snapshots):
    config = make_config()
    RecordedSearch(config, 0).run().finish()
    rows = check_record(config, 48)
    assert rows["id"].tolist() == list(range(48))
    found = verify_run(config.run_path)
    assert found.holds, found.summary()
    (no_networks,) = found.notes  # they are not chosen here
    assert "architectures.parquet is missing" in no_networks


def test_ids_after_a_resume_are_new(make_config, snapshots):
    config = make_config()
    first = RecordedSearch(config, 0, ("after append", 6))
    with pytest.raises(Crash):
        first.run()
    before = load_run(config.run_path).evaluations["id"]
    resumed = RecordedSearch(config, 1)
    resumed.draw()
    fresh = resumed.optimizer.pending().ids
    assert not set(fresh) & set(before)
    assert fresh.min() > before.max()
    assert np.diff(fresh).tolist() == [1] * (len(fresh) - 1)


def test_draws_after_a_resume_are_not_those_already_drawn(make_config, snapshots):
    config = make_config()
    first = RecordedSearch(config, 0, ("after observe", 6))
    with pytest.raises(Crash):
        first.run()
    lost = {number: present(first.drawn[number].architectures).tolist() for number in (7, 8)}
    drawn = []
    for restarts in (1, 2, 2):
        _, optimizer, first_round = open_record(config, RunSession(config.run_path, restarts, {}))
        assert first_round == 7
        drawn.append({number: optimizer.ask().architectures.tolist() for number in (7, 8)})
    assert drawn[0] != lost
    assert drawn[0] != drawn[1]
    assert drawn[1] == drawn[2]  # a function of seed and restart count


def test_the_warm_up_goes_on_from_its_last_snapshot(make_config, monkeypatch):
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", -1.0)
    config = make_config(warmup_rounds=10)
    with suppress(Crash):
        RecordedSearch(config, 0, ("after observe", 5)).run()
    resumed = RecordedSearch(config, 1)
    assert resumed.first_round == 6
    assert len(load_run(config.run_path).evaluations) == 0
    assert len(np.unique(resumed.optimizer.probs[resumed.optimizer.probs > 0])) == 2  # 1/4 and 1/5: uniform


@pytest.mark.parametrize("number", [4, 8])
def test_a_crash_between_rounds_and_snapshot_doubles_no_round(make_config, monkeypatch, number):
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", -1.0)
    config = make_config(warmup_rounds=6)
    with monkeypatch.context() as patch:
        crash_while_writing(patch, "state.json", number + 1)
        with pytest.raises(Crash):
            RecordedSearch(config, 0).run()
    RecordedSearch(config, 1).run().finish()
    rounds = load_run(config.run_path).rounds
    assert rounds["round"].is_unique
    assert rounds["reduced_bytes"].tolist() == (1000 + rounds["round"]).tolist()
    assert set(rounds["saved_bytes"]) == {5000}


def test_without_snapshot_or_rows_a_resumed_run_starts_at_its_beginning(make_config, monkeypatch):
    config = make_config()
    with suppress(Crash):
        RecordedSearch(config, 0, ("before append", 2)).run()
    resumed = RecordedSearch(config, 1)
    assert (resumed.first_round, resumed.optimizer.num_told) == (2, 0)  # the warm-up is on record
    resumed.run().finish()
    assert verify_run(config.run_path).holds
    assert load_run(config.run_path).rounds["round"].tolist() == list(range(14))


def journal_of(config, table):
    (journal,) = Path(config.run_path, table, JOURNAL_FOLDER).glob("*.jsonl")
    return journal


def crashed(config, stage, number):
    with pytest.raises(Crash):
        RecordedSearch(config, 0, (stage, number)).run()


@pytest.mark.parametrize("number", [1, 4])
def test_a_round_is_synced_with_its_evaluations(make_config, monkeypatch, number):
    synced, fsync = set(), os.fsync

    def note(descriptor):
        found = os.fstat(descriptor)
        synced.add((found.st_ino, found.st_size))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", 1e9)
    config = make_config()
    crashed(config, "after append", number)
    for table in ("rounds", "evaluations")[: 1 if number < 2 else 2]:
        found = journal_of(config, table).stat()
        assert (found.st_ino, found.st_size) in synced


def test_a_damaged_line_loses_its_round_only(make_config, monkeypatch):
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", 1e9)
    config = make_config(warmup_rounds=6)
    crashed(config, "after observe", 5)
    journal = journal_of(config, "rounds")
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"1.0", b"9.0")  # round 2, after the header and two rounds
    journal.write_bytes(b"".join(lines))
    RecordedSearch(config, 1).run().finish()
    assert load_run(config.run_path).rounds["round"].tolist() == [0, 1, *range(3, 18)]
    found = verify_run(config.run_path)
    assert found.holds
    assert found.notes[0] == "rounds of the warm-up whose figures are lost: 2"


def test_a_round_whose_evaluations_are_lost_is_done_again_and_recorded_once(make_config, monkeypatch):
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", 1e9)
    config = make_config()
    crashed(config, "after append", 6)
    journal = journal_of(config, "evaluations")
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    resumed = RecordedSearch(config, 1)
    assert resumed.first_round == 6
    resumed.run().finish()
    check_record(config, 48)
    assert load_run(config.run_path).rounds["round"].tolist() == list(range(14))
    assert verify_run(config.run_path).holds


def test_a_run_that_was_searched_to_its_end_resumes_behind_it(make_config):
    config = make_config()
    first = RecordedSearch(config, 0).run()
    first.record.save(first.schedule.next_round)
    resumed = RecordedSearch(config, 1)
    assert resumed.first_round == config.plan.num_rounds
    assert resumed.schedule.is_complete
    assert np.array_equal(resumed.optimizer.probs, first.optimizer.probs)


def test_a_snapshot_ahead_of_the_record_is_refused(make_config):
    config = make_config()
    first = RecordedSearch(config, 0).run()
    first.record.save(first.schedule.next_round)
    for part in Path(config.run_path).glob("evaluations/*.parquet"):
        part.unlink()
    with pytest.raises(StateError) as caught:
        RecordedSearch(config, 1)
    assert str(caught.value) == (
        f"{config.run_path}/evaluations has 0 results, too few for the recorded update 12: evaluations are missing; "
        "restore a copy of them, or delete state.json and the folder distributions to resume from those that are there"
    )
