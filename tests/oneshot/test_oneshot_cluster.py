"""Searches on a real local Ray: the whole path and its repeatability."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from multinas_ray.errors import RunError
from multinas_ray.oneshot import run_search, running
from multinas_ray.runs import Run
from multinas_ray.selection import SelectConfig, load_family, select_networks
from multinas_ray.supernets import SUPERNET_FILE, build_subnet
from tests.support.local_ray import local_ray
from tests.support.tiny_search import TINY, tiny_space
from tests.support.whole_run import check_whole

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]

OF_THE_SEARCH = ["id", "round", "source", "architecture", "loss", "accuracy", "log_q", "tell_order", "update"]


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Run]]:
    """Searches in this process, all on one local Ray of two CPUs."""
    storage = tmp_path_factory.mktemp("runs")

    def run(*flags: str) -> Run:
        arguments = TINY.parser().parse_args(["--storage", str(storage), "--rounds-ahead", "1", *flags])
        return run_search(TINY.config(arguments), resume=arguments.resume)

    with local_ray():
        yield run


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
    weights, expected = (
        torch.load(Path(run.path) / SUPERNET_FILE, weights_only=True)["weights"] for run in (again, one_worker)
    )
    assert weights.keys() == expected.keys()
    for name in weights:
        assert torch.equal(weights[name], expected[name]), name
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
    """And a group that may go on with one of them starts."""
    two = search("--name", "two", "--num-workers", "2", "--min-workers", "1")
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


def test_trials_and_broker_hold_no_torch() -> None:
    """They would cost some 400 MB each."""
    code = "import multinas_ray.oneshot.trial, multinas_ray.oneshot.broker, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
