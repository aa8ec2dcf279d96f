"""Retraining on a real local Ray: side by side, through deaths, and with several workers for a network."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest
import torch

from multinas_ray.runs import load_retraining
from multinas_ray.selection import load_family
from multinas_ray.supernets import build_subnet
from tests.support.chosen_run import LARGE, SMALL, write_chosen_run
from tests.support.metadata import FakeMetadata, aws_notice_of
from tests.support.tiny_search import tiny_space

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]


@contextmanager
def retrain(run_path: str, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """The command as a user gives it, in a process of its own with a Ray of its own."""
    command = [sys.executable, "-m", "multinas_ray", "retrain", run_path, "--batch-size", "64", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 180
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def trials_of(process: subprocess.Popen[str], name: str = "ImplicitFunc") -> list[psutil.Process]:
    """The processes of a driver's trials, or of other actors whose name is like this."""
    found = []
    for each in psutil.Process(process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if any(name in part for part in each.cmdline()):
                found.append(each)
    return found


def wait_for_end(processes: list[psutil.Process]) -> None:
    """The trials of a killed driver train on until Ray's processes notice; ended ones may wait to be reaped."""
    deadline = time.monotonic() + 60
    while any(is_alive(each) for each in processes):
        assert time.monotonic() < deadline, "the trials of a killed driver do not end"
        time.sleep(0.05)


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def epochs_done(run_path: str, network: int) -> int:
    file = Path(run_path, "networks", str(network), "training.parquet")
    return int(pq.read_metadata(file).num_rows) if file.exists() else 0


def check_trained(run_path: str, epochs: int) -> None:
    """Every network has its table, its record, and weights that load."""
    for row in load_family(run_path).architectures.to_dict("records"):
        folder = Path(run_path, "networks", str(row["network"]))
        assert pd.read_parquet(folder / "training.parquet")["epoch"].tolist() == list(range(1, epochs + 1))
        assert row["retrained_epochs"] == epochs
        record = load_retraining(folder)
        assert record is not None
        assert record.result is not None
        assert (row["retrained_loss"], row["retrained_accuracy"]) == (record.result.loss, record.result.accuracy)
        weights = torch.load(Path(run_path) / row["retrained_path"], weights_only=True)
        build_subnet(tiny_space(), row["architecture"]).load_state_dict(weights)
        assert not (folder / "checkpoint.pt").exists()


def test_a_killed_driver_and_a_killed_trial_lose_no_epoch(tmp_path: Path) -> None:
    """Two networks side by side; SIGKILL of the driver, the same command again, SIGKILL of a trial's process."""
    run_path = write_chosen_run(tmp_path, [SMALL, LARGE])
    flags = ("--epochs", "30", "--checkpoint-interval-seconds", "0")
    with retrain(run_path, *flags) as process:
        wait_until(lambda: min(epochs_done(run_path, network) for network in range(2)) >= 2, process)
        orphans = trials_of(process)
        process.kill()
    wait_for_end(orphans)
    before = [epochs_done(run_path, network) for network in range(2)]
    assert min(before) >= 2
    assert max(before) < 30
    with retrain(run_path, *flags) as process:
        wait_until(lambda: all(epochs_done(run_path, network) > before[network] for network in range(2)), process)
        trials_of(process)[0].kill()
        output = finish(process)
    check_trained(run_path, epochs=30)
    assert "30/30 epochs done, test accuracy" in output
    assert list(Path(run_path, "retraining", "session-0001").glob("network-*/events.out.tfevents.*"))


@pytest.mark.by_hand
def test_a_group_of_two_whose_node_goes_after_its_notice_goes_on_within_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice comes after some epochs; a worker is killed once that led to a checkpoint within an epoch."""
    run_path = write_chosen_run(tmp_path, [LARGE])
    table, checkpoint = (Path(run_path, "networks", "0", name) for name in ("training.parquet", "checkpoint.pt"))

    def is_within_an_epoch() -> bool:
        return bool(torch.load(checkpoint, weights_only=True)["step"] > 0)

    flags = ["--epochs", "70", "--num-workers", "2", "--cpus-per-worker", "0.5", "--checkpoint-interval-seconds", "1"]
    with FakeMetadata("aws") as cloud:
        monkeypatch.setenv("MULTINAS_METADATA_URL", cloud.url)
        with retrain(run_path, *flags) as process:
            wait_until(lambda: epochs_done(run_path, 0) > 0, process)
            assert not is_within_an_epoch()
            cloud.notice = aws_notice_of(60)
            wait_until(is_within_an_epoch, process)
            trials_of(process, "RayTrainWorker")[0].kill()
            before = pd.read_parquet(table)
            finish(process)
    check_trained(run_path, epochs=70)
    assert list(Path(run_path, "retraining", "train").iterdir()), "Ray Train has worked here"
    assert 0 < len(before) < 70
    pd.testing.assert_frame_equal(pd.read_parquet(table).head(len(before)), before)


LOSS_THAT_FAILS = """
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from multinas_ray.errors import DataError
from multinas_ray.retraining import TrainingLoss, register_loss
from multinas_ray.settings import checked


@register_loss
@checked
@dataclass(frozen=True, kw_only=True)
class Failing(TrainingLoss):
    kind: ClassVar[str] = "failing"
    driver: int
    notes: str

    def start(self, space, task, family_path, device):
        if os.getpid() != self.driver:
            with Path(self.notes).open("a") as stream:
                stream.write("started\\n")
            raise DataError("photos must be there, they are gone: bring them back")
"""


def test_an_error_that_would_come_again_is_told_at_once(tmp_path: Path) -> None:
    """In a worker group within a trial: neither Ray Train nor Tune starts it again."""
    run_path, notes = write_chosen_run(tmp_path, [LARGE]), tmp_path / "notes.txt"
    (tmp_path / "failing.py").write_text(LOSS_THAT_FAILS)
    script = (
        "import os\n"
        "from multinas_ray.retraining import RetrainConfig, retrain_networks\n"
        "from multinas_ray.cluster import load_module\n"
        f"load_module({str(tmp_path / 'failing.py')!r})\n"
        f"options = {{'driver': os.getpid(), 'notes': {str(notes)!r}}}\n"
        "recipe = RetrainConfig(epochs=2, batch_size=64, loss='failing', loss_options=options, num_workers=2, "
        "cpus_per_worker=0.5)\n"
        f"retrain_networks({run_path!r}, recipe)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stderr.rstrip().endswith("DataError: photos must be there, they are gone: bring them back")
    assert 1 <= len(notes.read_text().splitlines()) <= 2  # two ranks of one start
