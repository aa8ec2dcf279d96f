"""Searches on a real local Ray: the whole path, its repeatability, and deaths at any moment."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import ray
import torch

from multinas_ray.errors import RunError
from multinas_ray.oneshot import run_search, running
from multinas_ray.runs import Run, load_run, verify_run
from multinas_ray.selection import SelectConfig, load_family, select_networks
from multinas_ray.supernets import build_subnet
from tests.campaign.disks import cut_newest
from tests.support.search_process import SearchProcess, title_of
from tests.support.tiny_search import TINY, tiny_space

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

OF_THE_SEARCH = ["id", "round", "source", "architecture", "loss", "accuracy", "log_q", "tell_order", "update"]


def check_whole(run: Run, warmup_rounds: int = 5, search_rounds: int = 30) -> None:
    """Every planned evaluation once, the distributions that replaying them gives, and K networks whose weights load."""
    assert run.is_finished
    rows = run.evaluations
    assert rows["tell_order"].tolist() == list(range(6 * search_rounds))
    assert rows["id"].is_unique
    assert sorted(set(rows["round"])) == list(range(warmup_rounds, warmup_rounds + search_rounds))
    assert verify_run(run.path).holds
    assert len(run.architectures) == 3
    assert run.architectures["params"].is_monotonic_increasing
    for network in run.architectures.to_dict("records"):
        weights = torch.load(Path(run.path) / network["weights_path"], weights_only=True)
        build_subnet(tiny_space(), network["architecture"]).load_state_dict(weights)
    candidates = load_family(run.path).candidates
    assert candidates[candidates["chosen"]]["architecture"].tolist() == run.architectures["architecture"].tolist()


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Run]]:
    """Searches in this process, all on one local Ray of two CPUs."""
    storage = tmp_path_factory.mktemp("runs")

    def run(*flags: str) -> Run:
        arguments = TINY.parser().parse_args(["--storage", str(storage), "--rounds-ahead", "1", *flags])
        return run_search(TINY.config(arguments), resume=arguments.resume)

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield run
    ray.shutdown()


@pytest.fixture(scope="module")
def one_worker(search: Callable[..., Run]) -> Run:
    return search("--name", "one")


def test_a_search_leaves_k_networks_and_a_whole_record(one_worker: Run) -> None:
    check_whole(one_worker)
    for name in ("pareto.png", "state.json", "finished.json"):
        assert (Path(one_worker.path) / name).exists()
    assert list((Path(one_worker.path) / "tensorboard").rglob("events.*"))
    assert len(pd.read_parquet(Path(one_worker.path) / "evaluations")) == len(one_worker.evaluations)


def test_equal_seeds_give_equal_searches_and_one_cut_before_the_choice_goes_on_with_that_alone(
    one_worker: Run, search: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(running, "choose_and_finish", cut)
        again = search("--name", "again")
    assert not again.is_finished
    pd.testing.assert_frame_equal(again.evaluations[OF_THE_SEARCH], one_worker.evaluations[OF_THE_SEARCH])
    again = search("--name", "again", "--resume")
    check_whole(again)
    pd.testing.assert_frame_equal(again.architectures, one_worker.architectures)
    assert not (Path(again.path) / "tune" / "session-0001").exists()  # neither trials nor workers were started


def test_a_finished_run_answers_other_budgets(one_worker: Run) -> None:
    family = select_networks(one_worker.path, SelectConfig(limits={"params": [4000, 1500], "flops": 3e4}))
    assert (family.architectures["params"].to_numpy() <= [1500, 4000]).all()
    assert (family.architectures["flops"] <= 3e4).all()
    weights = torch.load(Path(family.path) / family.architectures["weights_path"][1], weights_only=True)
    build_subnet(tiny_space(), family.architectures["architecture"][1]).load_state_dict(weights)
    own, again = (
        dict(zip(zip(each["architecture"], each["images"], strict=True), each["loss"], strict=True))
        for each in (load_family(one_worker.path).candidates, family.candidates)
    )
    assert own.keys() & again.keys()
    for network_and_images in own.keys() & again.keys():
        assert again[network_and_images] == pytest.approx(own[network_and_images])


def test_two_workers_give_the_losses_of_one(one_worker: Run, search: Callable[..., Run]) -> None:
    two = search("--name", "two", "--num-workers", "2")
    check_whole(two)
    first = 6 * 10
    assert two.evaluations["architecture"][:first].tolist() == one_worker.evaluations["architecture"][:first].tolist()
    np.testing.assert_allclose(two.evaluations["loss"][:first], one_worker.evaluations["loss"][:first], rtol=1e-4)


def test_a_finished_run_is_returned_as_it_is(one_worker: Run, search: Callable[..., Run]) -> None:
    again = search("--name", "one", "--resume")
    assert again.finished == one_worker.finished


def test_more_workers_than_the_cluster_has_is_told_at_once(search: Callable[..., Run]) -> None:
    with pytest.raises(
        RunError, match=r"the cluster has 1 node\(s\) with 2 CPU and 0 GPU, room for 0; lower num_workers"
    ):
        search("--name", "gpu", "--use-gpu")


def test_ten_faults_on_one_run_lose_nothing(tmp_path: Path) -> None:
    """The campaign in short: each kind once; tests/campaign draws kinds and moments at random."""
    flags, run_path = ("--search-rounds", "250"), tmp_path / "tiny"
    driver = SearchProcess(tmp_path, *flags)
    driver.wait_for_evaluations(20)
    driver.processes("Trainable")[0].kill()  # its block comes again
    driver.wait_for_evaluations(driver.num_evaluations() + 30)
    family = driver.family()
    titles = [title_of(each) for each in family]
    assert not [each for each in titles if re.search("DatasetManager|AutoscalingCoordinator|PreemptionWatcher", each)]
    driver.process.kill()
    driver.process.communicate()
    assert psutil.wait_procs(family, timeout=30)[1] == []
    recorded = load_run(run_path).evaluations
    for kind in ("evaluations", "rounds", "checkpoints", "state.json"):
        assert cut_newest(run_path, kind, num_bytes=100)

    driver = SearchProcess(tmp_path, *flags, "--resume")
    driver.wait_until((run_path / "sessions" / "0001.json").exists)
    driver.wait_for_evaluations(len(recorded) + 30)
    driver.processes("RayTrainWorker")[0].kill()  # Ray Train starts it again
    driver.wait_for_evaluations(driver.num_evaluations() + 60)
    driver.process.send_signal(signal.SIGINT)
    saved = check_interrupted(driver.finish(exit_status=130), run_path)
    assert saved < 6 * 250
    assert cut_newest(run_path, "state.json", num_bytes=100)

    driver = SearchProcess(tmp_path, *flags, "--resume")
    driver.wait_for_evaluations(saved + 10)
    worker = driver.processes("RayTrainWorker")[0]
    worker.suspend()
    time.sleep(3.0)
    worker.resume()
    driver.finish()
    run = load_run(run_path)
    check_whole(run, search_rounds=250)
    assert run.finished is not None
    assert run.finished["num_restarts"] == 2
    before = len(recorded) - 6  # the last line was cut
    pd.testing.assert_frame_equal(run.evaluations[:before], recorded[:before])


def check_interrupted(output: str, run_path: Path) -> int:
    """All is saved, and the last line tells how to go on; returns the number of evaluations."""
    assert "the rounds in flight are finished and saved" in output
    assert "The K distributions" in output
    assert "--resume" in output.splitlines()[-1]
    assert verify_run(run_path).holds
    run = load_run(run_path)
    assert run.distributions["update"].max() == len(run.evaluations) // 6
    return len(run.evaluations)


def test_trials_and_broker_hold_no_torch() -> None:
    """They would cost some 400 MB each."""
    code = "import multinas_ray.oneshot.trial, multinas_ray.oneshot.broker, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
