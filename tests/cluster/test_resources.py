"""Whether a cluster has room for a group of workers, and the wait until it has. No Ray."""

import io

import pytest
from rich.console import Console

from multinas_ray.cluster import check_room, resources, room_for, wait_for_room, workers_on_a_node
from multinas_ray.errors import RunError


@pytest.mark.parametrize("come", [True, False])
def test_nodes_are_asked_for_and_waited_for(cluster, monkeypatch, come):
    requests = []

    def request_resources(bundles):
        requests.append(bundles)
        if come and bundles:
            cluster((2.0, 1.0), (8.0, 1.0))

    monkeypatch.setattr(resources, "request_resources", request_resources)
    monkeypatch.setattr(resources, "NODE_POLL_SECONDS", 0.01)
    cluster((2.0, 1.0))
    seconds, console = 30.0 if come else 0.05, Console(file=io.StringIO())
    wait_for_room(2, cpus_per_worker=1.0, use_gpu=True, wait_seconds=seconds, console=console)
    assert room_for(1.0, use_gpu=True) == (2 if come else 1)
    assert requests == [[{"CPU": 1.0, "GPU": 1.0}] * 2, []]


REMEDY = "; lower num_workers or what each worker asks for, or add nodes"


@pytest.mark.parametrize(
    ("num_workers", "cpus_per_worker", "use_gpu", "nodes", "text"),
    [
        (
            2,
            1.5,
            False,
            [(2.0, 0.0)],
            "num_workers=2 workers of 1.5 CPU do not fit: the cluster has 1 node(s) with 2 CPU and 0 GPU, room for 1",
        ),
        (
            2,
            1.0,
            True,
            [(64.0, 1.0)],
            "num_workers=2 workers of 1 CPU and 1 GPU do not fit: the cluster has 1 node(s) with 64 CPU and 1 GPU, "
            "room for 1",
        ),
        (
            1,
            4.0,
            False,
            [(2.0, 0.0), (2.0, 0.0)],
            "num_workers=1 workers of 4 CPU do not fit: the cluster has 2 node(s) with 2 CPU and 0 GPU, "
            "2 CPU and 0 GPU, room for 0",
        ),
    ],
)
def test_a_cluster_that_has_too_little_is_told_what_it_has(cluster, num_workers, cpus_per_worker, use_gpu, nodes, text):
    cluster(*nodes)
    with pytest.raises(RunError) as caught:
        check_room(num_workers, cpus_per_worker=cpus_per_worker, use_gpu=use_gpu)
    assert str(caught.value) == text + REMEDY


@pytest.mark.parametrize(
    ("num_workers", "cpus_per_worker", "use_gpu", "sharing"),
    [
        (64, 1.0, True, 8),
        (4, 1.0, True, 4),
        (1, 1.0, True, 1),
        (64, 4.0, True, 8),
        (64, 12.0, True, 4),
        (64, 1.0, False, 48),
    ],
)
def test_workers_that_share_a_node_are_those_that_fit_there(cluster, num_workers, cpus_per_worker, use_gpu, sharing):
    cluster((2.0, 0.0), (48.0, 8.0), (48.0, 8.0))
    assert workers_on_a_node(num_workers, cpus_per_worker=cpus_per_worker, use_gpu=use_gpu) == sharing
