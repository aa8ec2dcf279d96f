"""What workers need of the nodes, and what is wrong with nodes that do not have it. Without Ray and torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from multinas_ray.cluster.probe import NodeFacts
from multinas_ray.runs import gigabytes
from multinas_ray.settings import NonNegativeInt, PositiveFloat, PositiveInt, checked, checked_arguments

NODES_TOLD = 5
"""Nodes that a line names at most."""


@checked
@dataclass(frozen=True, kw_only=True)
class NodeNeeds:
    """What workers need of each node that may get some of them."""

    num_workers: PositiveInt = 1
    """Number of all workers."""
    cpus_per_worker: PositiveFloat = 1.0
    """Logical CPUs that each asks Ray for."""
    use_gpu: bool = False
    """Whether each has one GPU."""
    bfloat16: bool = False
    """Whether GPUs must compute in bfloat16."""
    is_group: bool = False
    """Whether the workers average gradients with each other."""
    decoded_bytes: NonNegativeInt = 0
    """Bytes of images that a decoding process has in shared memory, at most; 0 if no process decodes images."""
    decode_processes: NonNegativeInt | None = None
    """Decoding processes of a worker; None: as many as share the cores of its node."""

    @property
    def backend(self) -> str:
        """What averages gradients."""
        return "nccl" if self.use_gpu else "gloo"

    def workers_on(self, ray_cpus: float, ray_gpus: float) -> int:
        """How many of the workers a node may get for which Ray counts these CPUs and GPUs."""
        room = int(ray_cpus / self.cpus_per_worker)
        return min(self.num_workers, room, int(ray_gpus)) if self.use_gpu else min(self.num_workers, room)

    def processes_on(self, facts: NodeFacts) -> int:
        """Processes that decode images for the workers on a node."""
        workers = self.workers_on(facts.ray_cpus, facts.ray_gpus)
        if self.decode_processes is not None:
            return workers * self.decode_processes
        return workers * max(1, facts.cores // workers) if workers else 0


@checked
@dataclass(frozen=True, kw_only=True)
class RankFacts:
    """What torch finds in a process that starts as a worker does."""

    address: str
    """That of its node."""
    has_gpu: bool
    """Whether torch.cuda is available."""
    why_not: str = ""
    """What torch says where it is not."""
    gpu: str = ""
    """Name of the GPU."""
    has_bfloat16: bool = False
    """Whether the GPU computes in bfloat16, which torch would otherwise emulate slowly."""


def node_problems(facts: Sequence[NodeFacts], needs: NodeNeeds) -> list[str]:
    """What is wrong with nodes that may get workers: a line each, with the nodes, the fact and the remedy."""
    used = [each for each in facts if needs.workers_on(each.ray_cpus, each.ray_gpus)]
    problems = [_wheel_problem(used), _driver_problem(used)] if needs.use_gpu else []
    return [each for each in (*problems, _shared_memory_problem(used, needs)) if each is not None]


def _wheel_problem(used: Sequence[NodeFacts]) -> str | None:
    wrong = [each for each in used if each.wheel_cuda is None]
    if not wrong:
        return None
    return (
        f"torch must be built for CUDA where workers have GPUs, on {_told(wrong)} it is built for CPUs "
        f"({wrong[0].versions.get('torch')}): install a wheel with CUDA there, see pytorch.org/get-started"
    )


def _driver_problem(used: Sequence[NodeFacts]) -> str | None:
    wrong = [
        each
        for each in used
        if each.driver_cuda and each.wheel_cuda and _major(each.driver_cuda) < _major(each.wheel_cuda)
    ]
    if not wrong:
        return None
    return (
        f"the driver of a node must support the CUDA {wrong[0].wheel_cuda} for which torch is built, that of "
        f"{_told(wrong)} ({wrong[0].driver}) supports {wrong[0].driver_cuda}: update the driver, or install torch for "
        f"CUDA {_major(str(wrong[0].driver_cuda))}"
    )


def _major(version: str) -> int:
    """A driver runs every CUDA of its major version."""
    return int(version.split(".")[0])


def _shared_memory_problem(used: Sequence[NodeFacts], needs: NodeNeeds) -> str | None:
    wrong = [
        each
        for each in used
        if each.shared_bytes is not None and each.shared_bytes < needs.decoded_bytes * needs.processes_on(each)
    ]
    if not wrong:
        return None
    processes = needs.processes_on(wrong[0])
    return (
        f"/dev/shm must have room for decoded images, {gigabytes(processes * needs.decoded_bytes)} with {processes} "
        f"decoding processes, {_told(wrong)} has {gigabytes(wrong[0].shared_bytes or 0)} free: give its container more "
        "(--shm-size, or an emptyDir of medium Memory), or set fewer decode_processes or a smaller batch_size"
    )


@checked_arguments
def node_notes(facts: Sequence[NodeFacts], needs: NodeNeeds) -> list[str]:
    """What makes workers slow on nodes that may get some: a line each, with the node, the fact and the remedy."""
    notes = []
    for each in facts:
        workers = needs.workers_on(each.ray_cpus, each.ray_gpus)
        if workers > each.cores:
            notes.append(
                f"The node {each.address} may use {each.cores} core(s), by its affinity and cgroup, but Ray counts "
                f"{each.ray_cpus:g} CPUs and may start {workers} workers there: start its Ray with --num-cpus "
                f"{each.cores}, or give it more cores."
            )
    return notes


def rank_problems(facts: Sequence[RankFacts], needs: NodeNeeds) -> list[str]:
    """What is wrong with the GPUs that processes have got: a line each, with the nodes, the fact and the remedy."""
    if not needs.use_gpu:
        return []
    problems = []
    if without := [each for each in facts if not each.has_gpu]:
        why = f" ({without[0].why_not})" if without[0].why_not else ""
        problems.append(
            f"torch must find the GPU that Ray gives a worker, torch.cuda is not available on {_told(without)}{why}: "
            "run nvidia-smi there, and repair the driver or give the container its GPUs (--gpus all, nvidia.com/gpu)"
        )
    if needs.bfloat16 and (old := [each for each in facts if each.has_gpu and not each.has_bfloat16]):
        problems.append(
            f"GPUs must compute in bfloat16, the precision that is set, {old[0].gpu} of {_told(old)} does not: set "
            "precision to float32, or use GPUs of compute capability 8.0 or more"
        )
    return problems


def join_problem(failures: Mapping[str, str], host: str, port: int) -> str | None:
    """What is wrong where nodes do not reach the first one; None if all do.

    Args:
        failures: address of a node -> what became of it.
        host: address of the node that all of them must reach.
        port: its port.
    """
    if not failures:
        return None
    return (
        f"all nodes must reach each other, {_named(sorted(failures))} did not reach {host}:{port} "
        f"({next(iter(failures.values()))}): open all TCP ports between the nodes (security group, firewall), and give "
        "each an address that the others know (ray start --node-ip-address)"
    )


def average_problem(failures: Mapping[str, str], addresses: Sequence[str], backend: str) -> str | None:
    """What is wrong where nodes cannot average gradients; None if they can.

    Args:
        failures: address of a node -> what became of it.
        addresses: all nodes that took part.
        backend: "nccl" or "gloo".
    """
    if not failures:
        return None
    return (
        f"the nodes {_named(sorted(set(addresses)))} must average gradients by {backend}, it failed on "
        f"{_named(sorted(failures))} ({next(iter(failures.values()))}): name the network that joins them with "
        f"{backend.upper()}_SOCKET_IFNAME, and open all ports between them"
        + ("; NCCL_DEBUG=INFO tells more" if backend == "nccl" else "")
    )


def _told(nodes: Sequence[NodeFacts] | Sequence[RankFacts]) -> str:
    return _named(list(dict.fromkeys(each.address for each in nodes)))


def _named(addresses: Sequence[str]) -> str:
    shown = ", ".join(addresses[:NODES_TOLD])
    return shown if len(addresses) <= NODES_TOLD else f"{shown} and {len(addresses) - NODES_TOLD} more"
