import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import ray.train.torch
import torch
import torch.distributed as dist

from multinas_ray.cluster import spot
from multinas_ray.data import DataConfig, load_splits
from multinas_ray.errors import StateError
from multinas_ray.retraining import RetrainConfig
from multinas_ray.retraining import worker as retraining
from multinas_ray.retraining.network_training import NetworkTraining
from multinas_ray.retraining.worker import (
    Pace,
    RetrainJob,
    first_weights,
    noticed_checkpoints,
    start_training,
    train_network,
)
from multinas_ray.runs import load_retraining, training_schema
from multinas_ray.storage import write_atomic
from multinas_ray.supernets import build_subnet
from multinas_ray.tasks import Task
from tests.retraining.two_ranks import scores
from tests.support.metadata import FakeMetadata, aws_notice_of
from tests.support.narrow import present
from tests.support.numerics import settings_kept
from tests.support.tiny_search import tiny_space

CPU = torch.device("cpu")
ARCHITECTURE = (2, 0, 1)


@pytest.fixture
def make_job(tmp_path):
    def make(*names, supernet_weights=None, **settings):
        names = names or ("0",)
        for name in names:
            (tmp_path / name).mkdir(exist_ok=True)
        recipe = {"epochs": 4, "batch_size": 128, "checkpoint_interval_seconds": 0, **settings}
        return RetrainJob(
            space=tiny_space(),
            data=DataConfig(source="digits"),
            task=Task(),
            config=RetrainConfig(**recipe),
            architecture=ARCHITECTURE,
            family_path=str(tmp_path),
            folders=tuple(str(tmp_path / name) for name in names),
            work_path=str(tmp_path / "work"),
            supernet_weights=supernet_weights,
        )

    return make


def train(job):
    """Train to the end; what was reported."""
    reports: list[dict[str, Any]] = []
    train_network(job, reports.append, 0.0, CPU)
    return reports


class KilledError(Exception):
    pass


def kill_in_epoch(number):
    def report(metrics):
        if metrics["epoch"] == number:
            raise KilledError

    return report


def weights_of(folder):
    return torch.load(Path(folder) / "retrained.pt", weights_only=True)


def test_a_training_leaves_weights_that_give_the_recorded_figures(make_job):
    job = make_job("0", "3", learning_rate=0.4, batch_size=64)
    reports = train(job)
    network = build_subnet(tiny_space(), ARCHITECTURE)
    network.load_state_dict(weights_of(job.folders[0]))
    training = start_training(job, CPU)
    training.network.load_state_dict(network.state_dict())
    training._ema = None  # the kept weights are now the network's own
    record = present(load_retraining(job.folders[0]))
    result = present(record.result)
    assert record.architecture == ARCHITECTURE
    assert record.recipe == job.config.identity()
    assert (result.loss, result.accuracy) == pytest.approx(scores(training, load_splits(job.data).test))
    assert result.accuracy > 0.3, "three times what guessing gives"
    assert result.epochs == 4
    assert reports[-1]["test_accuracy"] == result.accuracy
    assert [each["epoch"] for each in reports] == [1, 2, 3, 4]
    assert [each["timesteps_total"] for each in reports] == [1, 2, 3, 4]
    for name in ("retrained.pt", "training.parquet", "retraining.json"):
        contents = {(Path(folder) / name).read_bytes() for folder in job.folders}
        assert len(contents) == 1, "networks of one architecture share the result"
    assert not (Path(job.folders[0]) / "checkpoint.pt").exists()


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_killed_training_goes_on_to_the_same_weights(make_job, epoch):
    whole, killed = make_job("whole"), make_job("killed")
    train(whole)
    with pytest.raises(KilledError):
        train_network(killed, kill_in_epoch(epoch), 0.0, CPU)
    assert not (Path(killed.folders[0]) / "retrained.pt").exists()
    assert len(pd.read_parquet(Path(killed.folders[0]) / "training.parquet")) == epoch
    reports = train(killed)
    assert [each["epoch"] for each in reports] == list(range(epoch + 1, 5))
    expected, found = weights_of(whole.folders[0]), weights_of(killed.folders[0])
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    table = pd.read_parquet(Path(killed.folders[0]) / "training.parquet")
    assert table["epoch"].tolist() == [1, 2, 3, 4]
    assert table.columns.tolist() == training_schema().names
    assert (
        table["train_loss"].tolist()
        == pd.read_parquet(Path(whole.folders[0]) / "training.parquet")["train_loss"].tolist()
    )


@pytest.fixture
def cloud(monkeypatch):
    """The cloud that this node is of, asked all the time."""
    monkeypatch.setattr(spot, "POLL_SECONDS", 0.01)
    with FakeMetadata("aws") as metadata:
        monkeypatch.setenv(spot.URL_VARIABLE, metadata.url)
        yield metadata


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return True


def test_a_node_that_goes_after_its_notice_costs_no_step(make_job, cloud):
    """The notice comes after step 14 of 44, and the node goes one step after the checkpoint."""
    whole, taken = make_job("whole"), make_job("taken", checkpoint_interval_seconds=1e6)
    train(whole)
    steps: list[None] = []

    with noticed_checkpoints(CPU) as is_wanted:

        def is_wanted_or_gone():
            steps.append(None)
            if len(steps) == 14:
                assert not is_wanted()
                cloud.notice = aws_notice_of(60)
                return wait_for(is_wanted)
            if len(steps) == 15:
                raise KilledError
            return is_wanted()

        with pytest.raises(KilledError):
            train_network(taken, lambda row: None, 0.0, CPU, is_checkpoint_wanted=is_wanted_or_gone)
    assert len(pd.read_parquet(Path(taken.folders[0]) / "training.parquet")) == 1

    def count() -> bool:
        steps.append(None)
        return False

    train_network(taken, lambda row: None, 0.0, CPU, is_checkpoint_wanted=count)
    assert len(steps) == 44 + 1, "the one after the checkpoint is trained again"
    expected, found = weights_of(whole.folders[0]), weights_of(taken.folders[0])
    assert all(torch.equal(value, found[name]) for name, value in expected.items())
    tables = [pd.read_parquet(Path(job.folders[0]) / "training.parquet") for job in (whole, taken)]
    assert tables[1]["epoch"].tolist() == [1, 2, 3, 4]
    assert tables[1]["train_loss"].tolist() == pytest.approx(tables[0]["train_loss"].tolist(), rel=1e-6)


def test_only_the_first_rank_of_a_node_watches(monkeypatch):
    started = []
    monkeypatch.setattr(spot.SpotWatch, "start", lambda watch: started.append(watch))
    for local_rank in (1, 0, 2):
        with noticed_checkpoints(CPU, local_rank=local_rank) as is_wanted:
            assert not is_wanted()
        assert len(started) == (local_rank != 1)


@pytest.mark.parametrize("local_rank", [0, 1])
def test_a_worker_of_a_group_asks_for_notices_after_its_steps(make_job, cloud, monkeypatch, local_rank):
    cloud.notice = aws_notice_of(60)
    ranks = {"get_world_rank": 2, "get_world_size": 4, "get_local_rank": local_rank}
    context = SimpleNamespace(**{name: lambda value=value: value for name, value in ranks.items()})
    monkeypatch.setattr(ray.train, "get_context", lambda: context)
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: CPU)
    monkeypatch.setattr(dist, "all_reduce", lambda told, operation: None)  # the other ranks heard nothing
    job = make_job(num_workers=4, batch_size=128)

    def train(trained, report, report_seconds, device, rank, world_size, is_wanted):
        assert (trained, rank, world_size) == (job, 2, 4)
        assert wait_for(is_wanted) if local_rank == 0 else not is_wanted()

    monkeypatch.setattr(retraining, "train_network", train)
    retraining.retraining_worker({"job": job})
    assert bool(cloud.asked) == (local_rank == 0)


def test_a_training_killed_in_its_last_test_is_not_trained_again(make_job, monkeypatch):
    def die(*arguments):
        raise KilledError

    job = make_job(epochs=2)
    with monkeypatch.context() as patches:
        patches.setattr(NetworkTraining, "score", die)
        with pytest.raises(KilledError):
            train(job)
    train_network(job, lambda row: None, 0.0, CPU, is_checkpoint_wanted=lambda: pytest.fail("a step was trained"))
    assert present(present(load_retraining(job.folders[0])).result).epochs == 2


def test_exported_files_of_earlier_weights_are_gone_before_new_ones_are_there(make_job, monkeypatch):
    job, seen = make_job("0", "1", epochs=1), []
    for folder in map(Path, job.folders):
        (folder / "export").mkdir()
        (folder / "export" / "model.pt2").write_bytes(b"old weights")

    def look_and_write(place, data):
        if place.path.endswith("retrained.pt"):
            seen.append([each.name for each in Path(place.path).parent.iterdir() if "export" in each.name])
        write_atomic(place, data)

    monkeypatch.setattr(retraining, "write_atomic", look_and_write)
    train(job)
    assert seen == [[], []]


def test_checkpoints_and_reports_keep_their_pace(make_job):
    job = make_job(checkpoint_interval_seconds=1e6)
    reports: list[dict[str, Any]] = []
    with pytest.raises(KilledError):
        train_network(job, kill_in_epoch(2), 0.0, CPU)
    assert not (Path(job.folders[0]) / "checkpoint.pt").exists()
    train_network(job, reports.append, 1e6, CPU)
    assert [each["epoch"] for each in reports] == [4], "the last one always comes"


def test_something_due_is_due_again_after_the_interval(monkeypatch):
    clock = iter([100.0, 101, 110, 110, 111, 119, 120, 120, 150, 150, 151])  # read once more whenever it was due
    monkeypatch.setattr("multinas_ray.retraining.worker.time.monotonic", lambda: next(clock))
    pace = Pace(10, 1, CPU)
    told = [pace() for _ in range(7)]
    assert told == [False, True, False, False, True, True, False]


def test_inherited_weights_are_where_the_training_starts(make_job, tmp_path):
    weights = build_subnet(tiny_space(), ARCHITECTURE, seed=11).state_dict()
    torch.save(weights, tmp_path / "weights.pt")
    start = first_weights(make_job(init="supernet", supernet_weights=str(tmp_path / "weights.pt"))).state_dict()
    assert all(torch.equal(value, start[name]) for name, value in weights.items())
    fresh = first_weights(make_job(supernet_weights=str(tmp_path / "weights.pt"))).state_dict()
    assert not torch.equal(fresh["head.classifier.weight"], weights["head.classifier.weight"])
    with pytest.raises(
        StateError, match=r'init="supernet" needs weights of the supernet, .*: choose the networks again'
    ):
        first_weights(make_job(init="supernet"))


@pytest.mark.parametrize(
    ("content", "told"), [(b"half a file", "cannot be read"), ({"version": 9}, "must be of version 3")]
)
def test_a_checkpoint_that_cannot_be_used_is_told(make_job, content, told):
    job = make_job()
    file = Path(job.folders[0]) / "checkpoint.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(StateError, match=f"{told}.*--overwrite"):
        start_training(job, CPU)


def test_the_record_is_plain_json(make_job):
    job = make_job(gradient_clip_norm=float("inf"))
    train(job)
    content = json.loads((Path(job.folders[0]) / "retraining.json").read_text())
    assert content["architecture"] == list(ARCHITECTURE)
    assert content["recipe"]["epochs"] == 4
    assert set(content["result"]) == {"loss", "accuracy", "epochs", "seconds"}
    assert present(load_retraining(job.folders[0])).recipe == job.config.identity()


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_training_computes_deterministically_where_that_is_asked_for(make_job, deterministic):
    with settings_kept():
        start_training(make_job(deterministic=deterministic), CPU)
        assert torch.are_deterministic_algorithms_enabled() == deterministic
