import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest
import ray.train
import torch
from ray.train import Checkpoint, CheckpointUploadMode

from multinas_ray.errors import StateError, StorageError
from multinas_ray.oneshot import worker as worker_module
from multinas_ray.oneshot.messages import Round
from multinas_ray.oneshot.worker import CHECKPOINT_FILE, CHECKPOINT_VERSION, check_weights, save_checkpoint


@pytest.fixture
def reports(monkeypatch):
    """What is reported to Ray Train, with the files of its checkpoint read."""
    reports = []

    def report(metrics, checkpoint, **options):
        files = {} if checkpoint is None else {file.name: file for file in Path(checkpoint.path).iterdir()}
        reports.append((metrics, files, options))

    monkeypatch.setattr(ray.train, "report", report)
    return reports


def test_a_checkpoint_is_plain_data_that_restores_the_worker(make_worker, reports, monkeypatch):
    worker = make_worker()
    work = Round(number=0, train_architectures=np.zeros((1, 6), int), architectures=None)
    worker.run(work)
    save_checkpoint(worker, 5)
    ((metrics, files, options),) = reports
    assert metrics == {"round": 5}
    assert list(files) == [CHECKPOINT_FILE]
    assert options["delete_local_checkpoint_after_upload"]
    state = torch.load(files[CHECKPOINT_FILE], weights_only=True)
    assert (state["version"], state["next_round"]) == (CHECKPOINT_VERSION, 5)
    restored = make_worker()
    folder = Checkpoint.from_directory(str(files[CHECKPOINT_FILE].parent))
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: folder)
    assert worker_module._restore(restored) == 5
    following = Round(number=1, train_architectures=np.zeros((1, 6), int), architectures=np.ones((2, 6), int))
    assert torch.equal(worker.run(following), restored.run(following))


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize(
    ("options", "mode"),
    [
        ({}, CheckpointUploadMode.ASYNC),
        ({"wait": False}, CheckpointUploadMode.ASYNC),
        ({"wait": True}, CheckpointUploadMode.SYNC),
    ],
)
def test_a_checkpoint_is_uploaded_beside_the_next_rounds_unless_it_is_waited_for(
    reports, make_worker, rank, options, mode
):
    worker = make_worker()
    worker.rank = rank
    save_checkpoint(worker, 5, **options)
    assert [each["checkpoint_upload_mode"] for _, _, each in reports] == [mode]


def test_only_the_first_rank_writes_and_every_rank_reports(reports, make_worker):
    worker = make_worker()
    worker.rank = 1
    save_checkpoint(worker, 5)
    ((metrics, files, _),) = reports
    assert metrics == {"round": 5}
    assert files == {}


def test_a_checkpoint_that_does_not_fit_is_told_and_leaves_nothing(make_worker, reports, tmp_path, monkeypatch):
    """torch raises an error of its own after the system's."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    worker, before = make_worker(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"supernet.pt cannot be written \(the file is larger than this system"):
            save_checkpoint(worker, 5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_without_a_checkpoint_the_weights_start_anew(make_worker, monkeypatch):
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: None)
    worker, fresh = make_worker(), make_worker()
    assert worker_module._restore(worker) == 0
    for one, other in zip(worker.supernet.parameters(), fresh.supernet.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_checkpoint_of_another_version_is_refused(make_worker, tmp_path, monkeypatch):
    worker = make_worker()
    torch.save({"version": 99, "next_round": 0, **worker.state_dict()}, tmp_path / CHECKPOINT_FILE)
    checkpoint = Checkpoint.from_directory(str(tmp_path))
    monkeypatch.setattr(ray.train, "get_checkpoint", lambda: checkpoint)
    with pytest.raises(StateError) as caught:
        worker_module._restore(worker)
    assert str(caught.value) == "a checkpoint must be of version 1, it is of 99: start the run anew"


def warnings_of(caplog):
    return [(each.levelname, each.getMessage()) for each in caplog.records]


@pytest.mark.parametrize("weights_first", [False, True])
@pytest.mark.parametrize(
    ("restored_round", "first_round"),
    [
        (0, 0),  # a new run
        (33, 33),
        (35, 33),  # the checkpoint is ahead of the results: they got lost on their way
        (40, 40),
        (40, 57),  # the rounds since hold no weight step
        (60, 57),
    ],
)
def test_nothing_is_said_where_no_weight_step_is_lost(make_job, caplog, weights_first, restored_round, first_round):
    check_weights(make_job(num_weight_steps=40, weights_first=weights_first), restored_round, first_round)
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    ("weights_first", "restored_round", "first_round", "lost"),
    [
        (False, 30, 33, 3),
        (True, 30, 33, 3),
        (True, 0, 39, 39),
        (False, 39, 40, 1),  # joint training: the last round is done, its weights serve the final networks only
        (False, 0, 40, 40),
    ],
)
def test_lost_weight_steps_are_told(make_job, caplog, weights_first, restored_round, first_round, lost):
    check_weights(make_job(num_weight_steps=40, weights_first=weights_first), restored_round, first_round)
    text = f"The search goes on with the weights before round {restored_round}; {lost} weight steps are lost."
    assert warnings_of(caplog) == [("WARNING", text)]


@pytest.mark.parametrize(("restored_round", "first_round"), [(39, 40), (0, 40), (12, 57)])
def test_distributions_do_not_move_on_weights_that_were_not_trained_to_the_end(
    make_job, caplog, restored_round, first_round
):
    with pytest.raises(StateError) as caught:
        check_weights(make_job(num_weight_steps=40, weights_first=True), restored_round, first_round)
    assert str(caught.value) == (
        f"the distributions need weights after all 40 weight steps, the last checkpoint is of step {restored_round}: "
        "restore the train folder of the run, or start the run anew"
    )
    assert warnings_of(caplog) == []
