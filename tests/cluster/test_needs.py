"""What is said of nodes that lack what workers need: from facts to lines. No Ray, no torch."""

from dataclasses import replace

import pytest

from multinas_ray.cluster import NodeFacts, NodeNeeds, node_notes
from multinas_ray.cluster.needs import RankFacts, average_problem, join_problem, node_problems, rank_problems

GPU_NODE = NodeFacts(
    address="10.0.0.1",
    versions={"torch": "2.14.1"},
    storage_problem=None,
    sees_images=True,
    gpu_bytes=[80 * 10**9] * 4,
    free_bytes=None,
    cores=16,
    ray_cpus=16.0,
    ray_gpus=4.0,
    shared_bytes=8 * 10**9,
    driver="580.65.06",
    driver_cuda="13.0",
    wheel_cuda="13.0",
)
HEAD = replace(GPU_NODE, address="10.0.0.9", ray_cpus=2.0, ray_gpus=0.0, wheel_cuda=None, driver=None, driver_cuda=None)
NEEDS = NodeNeeds(num_workers=8, use_gpu=True, bfloat16=True, is_group=True, decoded_bytes=10**8)
RANK = RankFacts(address="10.0.0.1", has_gpu=True, gpu="NVIDIA H100", has_bfloat16=True)


def test_nodes_that_have_everything_have_no_problem() -> None:
    assert node_problems([GPU_NODE, HEAD], NEEDS) == []
    assert node_notes([GPU_NODE, HEAD], NEEDS) == []
    assert rank_problems([RANK, RANK], NEEDS) == []
    assert join_problem({}, "10.0.0.1", 4000) is None
    assert average_problem({}, ["10.0.0.1"], "nccl") is None


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"wheel_cuda": None, "versions": {"torch": "2.14.1+cpu"}},
            "torch must be built for CUDA where workers have GPUs, on 10.0.0.2 it is built for CPUs (2.14.1+cpu): "
            "install a wheel with CUDA there, see pytorch.org/get-started",
        ),
        (
            {"driver": "535.54.03", "driver_cuda": "12.2"},
            "the driver of a node must support the CUDA 13.0 for which torch is built, that of 10.0.0.2 (535.54.03) "
            "supports 12.2: update the driver, or install torch for CUDA 12",
        ),
        (
            {"shared_bytes": 64 * 10**6},
            "/dev/shm must have room for decoded images, 1.6 GB with 16 decoding processes, 10.0.0.2 has 64.0 MB free: "
            "give its container more (--shm-size, or an emptyDir of medium Memory), or set fewer decode_processes or a "
            "smaller batch_size",
        ),
    ],
)
def test_a_node_that_lacks_something_is_named_with_the_fact_and_the_remedy(changes, line) -> None:
    other = replace(GPU_NODE, address="10.0.0.2", **changes)
    assert node_problems([GPU_NODE, other], NEEDS) == [line]
    assert node_problems([GPU_NODE, replace(other, ray_gpus=0.0)], NEEDS) == []  # it gets no worker


@pytest.mark.parametrize(
    "changes", [{"driver_cuda": "13.4"}, {"driver_cuda": "14.0"}, {"driver_cuda": None}, {"shared_bytes": None}]
)
def test_what_suffices_or_is_not_known_is_no_problem(changes) -> None:
    assert node_problems([replace(GPU_NODE, **changes)], NEEDS) == []


def test_workers_on_cpus_need_no_gpu() -> None:
    on_cpus = NodeNeeds(num_workers=2)
    assert node_problems([replace(GPU_NODE, wheel_cuda=None)], on_cpus) == []
    assert rank_problems([RankFacts(address="10.0.0.1", has_gpu=False)], on_cpus) == []


@pytest.mark.parametrize(
    ("needs", "processes"),
    [
        (NEEDS, 16),  # four workers of four cores each
        (replace(NEEDS, decode_processes=3), 12),
        (replace(NEEDS, num_workers=1), 16),
        (replace(NEEDS, num_workers=3), 15),
        (replace(NEEDS, use_gpu=False, cpus_per_worker=32.0), 0),
    ],
)
def test_decoding_processes_of_a_node(needs, processes) -> None:
    assert needs.processes_on(GPU_NODE) == processes


def test_more_workers_than_cores_are_noted() -> None:
    crowded = replace(GPU_NODE, address="10.0.0.2", cores=3, ray_cpus=48.0)
    (note,) = node_notes([GPU_NODE, crowded], NEEDS)
    assert note == (
        "The node 10.0.0.2 may use 3 core(s), by its affinity and cgroup, but Ray counts 48 CPUs and may start 4 "
        "workers there: start its Ray with --num-cpus 3, or give it more cores."
    )
    assert node_notes([replace(crowded, cores=4)], NEEDS) == []


def test_a_gpu_that_torch_does_not_find_or_that_is_too_old_is_told() -> None:
    lost = RankFacts(address="10.0.0.2", has_gpu=False, why_not="CUDA initialization: no driver")
    old = RankFacts(address="10.0.0.3", has_gpu=True, gpu="Tesla T4")
    assert rank_problems([RANK, lost, lost, old, old], NEEDS) == [
        "torch must find the GPU that Ray gives a worker, torch.cuda is not available on 10.0.0.2 (CUDA "
        "initialization: no driver): run nvidia-smi there, and repair the driver or give the container its GPUs "
        "(--gpus all, nvidia.com/gpu)",
        "GPUs must compute in bfloat16, the precision that is set, Tesla T4 of 10.0.0.3 does not: set precision to "
        "float32, or use GPUs of compute capability 8.0 or more",
    ]
    assert rank_problems([old], replace(NEEDS, bfloat16=False)) == []


def test_nodes_that_do_not_reach_each_other_are_named() -> None:
    told = join_problem({"10.0.0.3": "timed out", "10.0.0.2": "timed out"}, "10.0.0.1", 4000)
    assert told is not None
    assert told.startswith(
        "all nodes must reach each other, 10.0.0.2, 10.0.0.3 did not reach 10.0.0.1:4000 (timed out): open"
    )
    many = {f"10.0.1.{number}": "timed out" for number in range(1, 9)}
    assert "10.0.1.5 and 3 more did not reach" in str(join_problem(many, "10.0.0.1", 4000))


@pytest.mark.parametrize(("backend", "variable"), [("nccl", "NCCL_SOCKET_IFNAME"), ("gloo", "GLOO_SOCKET_IFNAME")])
def test_nodes_that_cannot_average_are_named(backend, variable) -> None:
    told = average_problem({"10.0.0.2": "no answer"}, ["10.0.0.1", "10.0.0.2", "10.0.0.2"], backend)
    assert told is not None
    assert (
        f"the nodes 10.0.0.1, 10.0.0.2 must average gradients by {backend}, it failed on 10.0.0.2 (no answer)" in told
    )
    assert variable in told
    assert ("NCCL_DEBUG" in told) == (backend == "nccl")
