"""Room for workers on the cluster's nodes, and waiting for it."""

from __future__ import annotations

import time

import ray
from ray.autoscaler.sdk import request_resources
from rich.console import Console

from multinas_ray.errors import ConfigError, RunError
from multinas_ray.settings import checked_arguments

NODE_POLL_SECONDS = 2.0
"""Time between two looks at the cluster while waiting for nodes."""


def wait_for_room(
    num_workers: int, *, cpus_per_worker: float, use_gpu: bool, wait_seconds: float, console: Console
) -> None:
    """Ask the cluster's autoscaler for room for all workers, and wait for it.

    Args:
        num_workers: number of workers that need room.
        cpus_per_worker: logical CPUs that each worker asks Ray for.
        use_gpu: whether each worker needs a GPU.
        wait_seconds: longest wait; whether the room is sufficient then is for the caller to judge.
        console: where the wait is shown.
    """
    room, deadline = room_for(cpus_per_worker, use_gpu), time.monotonic() + wait_seconds
    if room >= num_workers:
        return
    request_resources(bundles=[worker_resources(cpus_per_worker, use_gpu)] * num_workers)
    try:
        with console.status("") as status:
            while room < num_workers and time.monotonic() < deadline:
                status.update(f"waiting for nodes: room for {room} of {num_workers} workers")
                time.sleep(NODE_POLL_SECONDS)
                room = room_for(cpus_per_worker, use_gpu)
    finally:
        request_resources(bundles=[])  # from here on the workers themselves are the demand


@checked_arguments
def worker_resources(cpus_per_worker: float, use_gpu: bool) -> dict[str, float]:
    """The resources that one worker asks Ray for."""
    return {"CPU": cpus_per_worker, **({"GPU": 1.0} if use_gpu else {})}


def room_for(cpus_per_worker: float, use_gpu: bool) -> int:
    """Workers that the cluster's present nodes could hold if they held nothing else. Ray must be running."""
    wanted = worker_resources(cpus_per_worker, use_gpu)
    return sum(min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in _node_resources())


def workers_on_a_node(num_workers: int, *, cpus_per_worker: float, use_gpu: bool) -> int:
    """How many of so many workers one of the cluster's nodes may get, at least 1. Ray must be running."""
    wanted = worker_resources(cpus_per_worker, use_gpu)
    rooms = [min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in _node_resources()]
    return max(1, min(num_workers, max(rooms, default=1)))


def _node_resources() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def check_room(num_workers: int, *, cpus_per_worker: float, use_gpu: bool) -> None:
    """Check that the cluster's nodes have room for the workers. Ray must be running.

    Raises:
        ConfigError: The number of workers is less than 1.
        RunError: There is not enough room; the message says what the nodes have.
    """
    if num_workers < 1:
        raise ConfigError(f"num_workers must be at least 1, got {num_workers}")
    room, nodes = room_for(cpus_per_worker, use_gpu), _node_resources()
    if room < num_workers:
        each = " and ".join(f"{amount:g} {name}" for name, amount in worker_resources(cpus_per_worker, use_gpu).items())
        has = ", ".join(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes)
        raise RunError(
            f"num_workers={num_workers} workers of {each} do not fit: the cluster has {len(nodes)} node(s) with "
            f"{has}, room for {room}; lower num_workers or what each worker asks for, or add nodes"
        )
