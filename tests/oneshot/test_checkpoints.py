import io
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from multinas_ray.errors import StateError, StorageError
from multinas_ray.oneshot import checkpoints as checkpoints_module
from multinas_ray.oneshot import worker as worker_module
from multinas_ray.oneshot.checkpoints import (
    CHECKPOINTS_KEPT,
    CheckpointWriter,
    SavedWeights,
    first_round,
    newest_weights,
    read_weights,
    store_weights,
)
from multinas_ray.oneshot.messages import LostSteps, Round
from multinas_ray.oneshot.worker import lost_steps, save_checkpoint
from tests.inputs.damages import DAMAGES

LIMIT = 1_000_000


@pytest.fixture
def told():
    return []


@pytest.fixture
def writer(tmp_path, told):
    return CheckpointWriter(str(tmp_path), told.append)


@pytest.fixture
def full_disk():
    """No file may be larger than 1 MB; the log of the tests may be a file, too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def files_of(run_path):
    return sorted(Path(run_path, "checkpoints").iterdir())


def test_a_checkpoint_is_plain_data_that_restores_the_worker(make_worker, writer, tmp_path):
    worker = make_worker(run_path=str(tmp_path))
    worker.run(Round(number=0, train_architectures=np.zeros((1, 6), int), architectures=None))
    save_checkpoint(worker, writer, 5)
    writer.wait()
    (file,) = files_of(tmp_path)
    state = torch.load(file, weights_only=True)
    assert (state["version"], state["next_round"]) == (1, 5)
    restored = make_worker(run_path=str(tmp_path))
    assert worker_module._restore(restored) == 5
    following = Round(number=1, train_architectures=np.zeros((1, 6), int), architectures=np.ones((2, 6), int))
    assert torch.equal(worker.run(following), restored.run(following))


@pytest.mark.parametrize("when", ["beside", "first", "last"])
def test_only_the_first_rank_writes(make_worker, writer, tmp_path, when):
    worker = make_worker(run_path=str(tmp_path))
    worker.rank = 1
    save_checkpoint(worker, writer, 5, when)
    worker.rank = 0
    save_checkpoint(worker, writer, 6, when)
    writer.wait()
    assert newest_weights(str(tmp_path)).next_round == 6
    assert len(files_of(tmp_path)) == 1


def test_the_newest_and_the_one_before_are_kept(tmp_path):
    for number in (8, 9, 10, 11):
        store_weights(str(tmp_path), number, b"weights %d" % number)
    assert len(files_of(tmp_path)) == CHECKPOINTS_KEPT
    found = newest_weights(str(tmp_path))
    assert (found.next_round, found.damaged) == (11, ())
    assert read_weights(str(tmp_path), str(found.name)) == b"weights 11"


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in ("version", "type", "absurd", "folder")])
def test_a_damaged_newest_one_gives_way_to_the_one_before(tmp_path, damage):
    for number in (10, 20):
        store_weights(str(tmp_path), number, bytes(range(256)) * number)
    older, newer = files_of(tmp_path)
    DAMAGES[damage](newer, np.random.default_rng(0))
    damaged = () if damage == "deleted" else (newer.name,)
    assert newest_weights(str(tmp_path)) == SavedWeights(older.name, 10, damaged)
    DAMAGES[damage](older, np.random.default_rng(1))
    found = newest_weights(str(tmp_path))
    assert (found.name, found.next_round) == (None, 0)


@pytest.mark.parametrize("next_round", [15, 20])
def test_a_damaged_later_one_does_not_take_the_place_of_the_one_before(tmp_path, next_round):
    for number in (10, 20):
        store_weights(str(tmp_path), number, b"weights %d" % number)
    files_of(tmp_path)[1].write_bytes(b"damaged")
    store_weights(str(tmp_path), next_round, b"trained again")  # the resumed warm-up went on from round 10
    files_of(tmp_path)[1].write_bytes(b"damaged too")
    found = newest_weights(str(tmp_path))
    assert (found.next_round, len(found.damaged)) == (10, 1)


def test_without_a_checkpoint_the_weights_start_anew(make_worker, tmp_path):
    worker, fresh = make_worker(run_path=str(tmp_path)), make_worker()
    assert worker_module._restore(worker) == 0
    for one, other in zip(worker.supernet.parameters(), fresh.supernet.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_another_version_is_refused(make_worker, tmp_path):
    worker, buffer = make_worker(run_path=str(tmp_path)), io.BytesIO()
    torch.save({"version": 99, "next_round": 0, **worker.state_dict()}, buffer)
    store_weights(str(tmp_path), 3, buffer.getvalue())
    with pytest.raises(StateError, match="a checkpoint must be of version 1, it is of 99: start the run anew"):
        worker_module._restore(worker)


@pytest.mark.usefixtures("full_disk")
def test_a_refused_checkpoint_beside_the_rounds_is_told_and_ends_nothing(writer, told, tmp_path):
    writer.begin(5, bytes(2 * LIMIT))
    writer.wait()
    (text,) = told
    assert text.startswith("A checkpoint could not be saved")
    assert files_of(tmp_path) == []


@pytest.mark.usefixtures("full_disk")
def test_a_refused_checkpoint_that_must_be_there_is_tried_again(writer, told, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints_module, "WAIT_SECONDS", 0.0)
    with pytest.raises(StorageError, match="the file is larger than this system allows"):
        writer.write(5, bytes(2 * LIMIT))
    assert [text[-18:] for text in told] == ["It is tried again."]  # once
    told.clear()
    writer.write_last(5, bytes(2 * LIMIT))
    assert told[-1].startswith("The last weights could not be saved")
    assert files_of(tmp_path) == []


@pytest.mark.parametrize("weights_first", [False, True])
@pytest.mark.parametrize(
    ("weights_round", "first"),
    [
        (0, 0),  # a new run
        (33, 33),
        (35, 33),  # the checkpoint is ahead of the results: they got lost on their way
        (40, 40),
        (40, 57),  # the rounds since hold no weight step
        (60, 57),
    ],
)
def test_nothing_is_said_where_no_weight_step_is_lost(make_job, weights_first, weights_round, first):
    assert lost_steps(make_job(num_weight_steps=40, weights_first=weights_first), weights_round, first) is None


@pytest.mark.parametrize(
    ("weights_first", "weights_round", "first", "number"),
    [
        (False, 30, 33, 3),
        (True, 30, 33, 3),
        (True, 0, 39, 39),
        (False, 39, 40, 1),  # joint training: the last round is done, its weights serve the final networks only
        (False, 5, 40, 35),
    ],
)
def test_lost_weight_steps_are_told(make_job, weights_first, weights_round, first, number):
    found = lost_steps(make_job(num_weight_steps=40, weights_first=weights_first), weights_round, first)
    assert found == LostSteps(weights_round=weights_round, number=number)
    told = f"goes on with the weights before round {weights_round}: {number} weight steps since the last checkpoint are"
    assert told in str(found)


@pytest.mark.parametrize(
    ("weights_first", "weights_round", "first"), [(True, 39, 41), (True, 0, 41), (True, 12, 57), (False, 0, 6)]
)
def test_distributions_do_not_move_on_weights_that_were_not_trained(make_job, weights_first, weights_round, first):
    with pytest.raises(StateError, match=f"are of step {weights_round}: restore a copy of the folder, or start a new"):
        lost_steps(make_job(num_weight_steps=40, weights_first=weights_first), weights_round, first)


@pytest.mark.parametrize("train_during_search", [False, True])
@pytest.mark.parametrize(
    ("weights", "recorded", "has_evaluations", "expected"),
    [
        (SavedWeights(None, 0), 0, False, 0),
        (SavedWeights(None, 0), 3, False, 0),  # killed before the first checkpoint: the warm-up begins again
        (SavedWeights("a", 2), 4, False, 2),  # the weight steps since the checkpoint are done again
        (SavedWeights("a", 5), 4, False, 4),
        (SavedWeights("a", 5), 9, True, 9),
    ],
)
def test_a_resumed_search_goes_on_where_record_and_weights_meet(
    make_plan, train_during_search, weights, recorded, has_evaluations, expected
):
    plan = make_plan(warmup_rounds=5, train_during_search=train_during_search)
    assert first_round(plan, weights, recorded, has_evaluations, "runs/mine") == expected


@pytest.mark.parametrize(
    ("weights", "has_evaluations", "text"),
    [
        (SavedWeights(None, 0), True, "but there is none: restore a copy of the folder, or start a new run"),
        (
            SavedWeights(None, 0, ("a", "b")),
            True,
            r"are damaged \(a, b\): restore a copy of the folder, or start a new",
        ),
        (
            SavedWeights(None, 0, ("a",)),
            False,
            r"are damaged \(a\): restore a copy of the folder, or delete it to train",
        ),
    ],
)
def test_a_search_does_not_go_on_with_fresh_weights(make_plan, weights, has_evaluations, text):
    with pytest.raises(StateError, match=text):
        first_round(make_plan(warmup_rounds=5), weights, 9 if has_evaluations else 3, has_evaluations, "runs/mine")
