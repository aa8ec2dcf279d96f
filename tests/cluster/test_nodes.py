"""What is asked of every node, and what is said when nodes do not fit together. No Ray."""

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from multinas_ray.cluster import (
    NodeFacts,
    NodeNeeds,
    check_nodes,
    check_versions,
    check_workers,
    describe_nodes,
    nodes,
)
from multinas_ray.errors import RunError

FINE = NodeFacts(
    address="10.0.0.1",
    versions={"python": "3.11.7", "ray": "2.60.0", "torch": "2.14.1"},
    storage_problem=None,
    sees_images=True,
    gpu_bytes=[],
    free_bytes=None,
    cores=2,
    ray_cpus=2.0,
    ray_gpus=0.0,
    shared_bytes=10**9,
    driver=None,
    driver_cuda=None,
    wheel_cuda=None,
)
NEEDS = NodeNeeds()


@pytest.fixture
def answers(monkeypatch):
    """Makes the cluster's nodes answer these facts; returns what they were asked."""
    asked = []

    def answer(*facts):
        def probe_all(storage, marker, data_path):
            assert Path(marker).exists()
            asked.append((storage, marker, data_path))
            return list(facts)

        monkeypatch.setattr(nodes, "_probe_all", probe_all)
        return asked

    return answer


def test_nodes_that_fit_together(tmp_path, answers):
    asked = answers(FINE, replace(FINE, address="10.0.0.2"))
    assert len(check_nodes(str(tmp_path / "runs"), "images", NEEDS)) == 2
    ((storage, marker, data_path),) = asked
    assert storage == str(tmp_path / "runs")
    assert data_path == "images"
    assert not Path(marker).exists()
    assert list(Path(storage).iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"versions": {**FINE.versions, "torch": "2.13.0"}},
            "the same version of torch, got 2.13.0 on 10.0.0.2 and 2.14.1 on 10.0.0.1: install",
        ),
        (
            {"versions": {**FINE.versions, "ray": None}},
            "the same version of ray, got None on 10.0.0.2 and 2.60.0 on 10.0.0.1",
        ),
        ({"storage_problem": "not there"}, "but 10.0.0.2 cannot (not there): give a folder"),
        ({"sees_images": False}, "but 10.0.0.2 does not: put them on a shared disk"),
    ],
)
def test_a_node_that_does_not_fit_is_named(tmp_path, answers, changes, text):
    answers(FINE, replace(FINE, address="10.0.0.2", **changes))
    with pytest.raises(RunError, match=re.escape(text)):
        check_nodes(str(tmp_path), None, NEEDS)


def test_a_node_that_lacks_what_workers_need_is_named_and_further_problems_are_told(tmp_path, answers, caplog):
    answers(FINE, replace(FINE, address="10.0.0.2", ray_gpus=1.0, shared_bytes=0))
    with pytest.raises(RunError, match=r"on 10\.0\.0\.2 it is built for CPUs"):
        check_nodes(str(tmp_path), None, NodeNeeds(use_gpu=True, decoded_bytes=1))
    assert "/dev/shm must have room" in caplog.text


@pytest.mark.parametrize(
    ("alive", "use_gpu", "starts_processes"),
    [((True,), False, False), ((True, False), False, False), ((True, True), False, True), ((True,), True, True)],
)
def test_processes_start_where_there_are_other_nodes_or_gpus(
    tmp_path, answers, monkeypatch, alive, use_gpu, starts_processes
):
    crowded = replace(FINE, cores=1, ray_gpus=2.0, wheel_cuda="13.0")
    printed, started = io.StringIO(), list[NodeNeeds]()
    asked, console = answers(crowded), Console(file=printed, width=300)
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": each} for each in alive])
    monkeypatch.setattr(nodes, "check_ranks", started.append)
    needs = NodeNeeds(num_workers=2, use_gpu=use_gpu)
    check_workers(str(tmp_path), "/photos", needs, console)
    assert [data_path for _, _, data_path in asked] == ["/photos"]
    assert started == [needs] * starts_processes
    assert "The node 10.0.0.1 may use 1 core(s)" in printed.getvalue()


def test_a_single_node_is_this_machine_and_is_asked_without_a_task(tmp_path, monkeypatch):
    alone = {"Alive": True, "NodeManagerAddress": "10.0.0.7", "Resources": {"CPU": 4.0}, "NodeID": "7"}
    monkeypatch.setattr("ray.nodes", lambda: [alone, {**alone, "Alive": False}])
    (facts,) = check_nodes(str(tmp_path / "runs"), str(tmp_path), NEEDS)
    assert (facts.address, facts.ray_cpus) == ("10.0.0.7", 4.0)
    with pytest.raises(RunError, match=r"but 10\.0\.0\.7 does not"):
        check_nodes(str(tmp_path / "runs"), str(tmp_path / "none"), NEEDS)


def test_one_node_fits_itself():
    check_versions([FINE])


def test_nodes_are_described_in_a_few_lines():
    rows = dict(describe_nodes([replace(FINE, gpu_bytes=[24 * 10**9]), FINE]))
    assert rows["nodes"].startswith("2; ")
    assert rows["GPUs"] == "1, 24.0 GB the smallest"
    assert "torch 2.14.1" in rows["software"]
