"""A process on each node that starts as a worker does: it looks for its GPU, and all of them average once."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from multinas_ray.cluster.needs import NodeNeeds, RankFacts, average_problem, join_problem, rank_problems
from multinas_ray.errors import RunError, last_line

logger = logging.getLogger(__name__)

START_SECONDS = 180.0
"""Longest time that nodes have to start a process with torch."""
JOIN_SECONDS, AVERAGE_SECONDS = 30.0, 60.0
"""Longest times that a process has to reach the first one, and for an all-reduce."""
MARGIN_SECONDS = 15.0
"""What the driver waits beyond these, so that processes can tell what went wrong."""
TIMED_ELEMENTS, TIMED_TIMES = 2**23, 3
"""Numbers of a timed all-reduce, 32 MB, as many as a bucket of gradients has; and how often it is repeated."""


class Rank:
    """A process that starts as a worker does; it runs as a Ray actor."""

    def __init__(self) -> None:
        self._address = ray.util.get_node_ip_address()
        self._store: Any = None

    def look(self) -> RankFacts:
        """What torch finds."""
        import warnings

        import torch

        with warnings.catch_warnings(record=True) as said:  # torch warns why it finds no GPU
            warnings.simplefilter("always")
            has_gpu = torch.cuda.is_available()
        if not has_gpu:
            return RankFacts(address=self._address, has_gpu=False, why_not=str(said[-1].message) if said else "")
        return RankFacts(
            address=self._address,
            has_gpu=True,
            gpu=torch.cuda.get_device_name(),
            has_bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
        )

    def serve(self) -> tuple[str, int]:
        """Open the store by which the processes find each other, as the first of them; returns address and port."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch does not export it by name

        self._store = TCPStore(self._address, 0, is_master=True, wait_for_workers=False)
        return self._address, self._store.port

    def join(self, host: str, port: int) -> None:
        """Reach the store of the first."""
        from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch does not export it by name

        timeout = timedelta(seconds=JOIN_SECONDS)
        self._store = TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=timeout)

    def average(self, rank: int, world_size: int, backend: str) -> float:
        """Average with all others; returns the seconds of an all-reduce of `TIMED_ELEMENTS` numbers."""
        import torch
        import torch.distributed as dist

        timeout = timedelta(seconds=AVERAGE_SECONDS)
        dist.init_process_group(backend, store=self._store, rank=rank, world_size=world_size, timeout=timeout)
        try:
            values = torch.ones(TIMED_ELEMENTS, device="cuda" if backend == "nccl" else "cpu")
            dist.all_reduce(values)
            if float(values.sum()) != world_size * TIMED_ELEMENTS:
                raise RunError(f"the sum of {world_size} ones must be {world_size}, it was {float(values[0])}")
            started_seconds = time.perf_counter()
            for _ in range(TIMED_TIMES):
                dist.all_reduce(values)
            float(values[0])  # waits for the device
            return (time.perf_counter() - started_seconds) / TIMED_TIMES
        finally:
            dist.destroy_process_group()


def ranks_on(nodes: Sequence[Mapping[str, Any]], needs: NodeNeeds) -> list[Mapping[str, Any]]:
    """The node of each process: one on every node that may get workers, and on GPUs as many as an even share.

    Args:
        nodes: as `ray.nodes` tells them.
        needs: what workers need.
    """
    rooms = [
        (node, needs.workers_on(node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0)))
        for node in nodes
        if node["Alive"]
    ]
    used = [(node, room) for node, room in rooms if room]
    share = -(-needs.num_workers // max(1, len(used))) if needs.use_gpu else 1
    return [node for node, room in used for _ in range(min(room, share))]


def check_ranks(needs: NodeNeeds) -> float | None:
    """Start processes on all nodes that may get workers, and let them find their GPUs and average. Ray must be running.

    Returns:
        The bytes a second that a process sent in the all-reduce; None if there is nothing to average.

    Raises:
        RunError: a node cannot do it; the message names it.
    """
    nodes = ranks_on(ray.nodes(), needs)
    rank = ray.remote(num_cpus=0, num_gpus=int(needs.use_gpu))(Rank)
    actors: list[Any] = [
        rank.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
        for node in nodes
    ]
    addresses = [str(node["NodeManagerAddress"]) for node in nodes]
    try:
        return _checked(actors, addresses, needs)
    finally:
        for each in actors:
            ray.kill(each)


def _checked(actors: Sequence[Any], addresses: Sequence[str], needs: NodeNeeds) -> float | None:
    facts, failures = answers([each.look.remote() for each in actors], addresses, START_SECONDS)
    if failures:
        address, why = next(iter(failures.items()))
        raise RunError(
            f"a worker must start on every node with room for one, on {address} it did not ({why}): free the node's "
            "GPUs and memory, or remove it from the cluster"
        )
    raise_first(rank_problems(facts, needs))
    if not needs.is_group or len(actors) < 2:
        return None
    host, port = ray.get(actors[0].serve.remote())
    waiting = [each.join.remote(host, port) for each in actors[1:]]
    _, failures = answers(waiting, addresses[1:], JOIN_SECONDS + MARGIN_SECONDS)
    raise_first([join_problem(failures, host, port)])
    waiting = [each.average.remote(number, len(actors), needs.backend) for number, each in enumerate(actors)]
    seconds, failures = answers(waiting, addresses, 2 * AVERAGE_SECONDS + MARGIN_SECONDS)
    raise_first([average_problem(failures, addresses, needs.backend)])
    sent = 2 * (len(actors) - 1) / len(actors) * 4 * TIMED_ELEMENTS  # of a ring
    return float(sent / max(seconds))


def answers(waiting: Sequence[Any], addresses: Sequence[str], seconds: float) -> tuple[list[Any], dict[str, str]]:
    """The answers of calls in their order, and what became of the others by the addresses of their nodes."""
    ready, _ = ray.wait(list(waiting), num_returns=len(waiting), timeout=seconds)
    found, failures = [], {}
    for each, address in zip(waiting, addresses, strict=True):
        try:
            if each in ready:
                found.append(ray.get(each))
            else:
                failures[address] = f"no answer within {seconds:.0f} s"
        except ray.exceptions.RayError as error:
            failures[address] = last_line(error)
    return found, failures


def raise_first(problems: Sequence[str | None]) -> None:
    """Raise the first problem, after the others have been told in the log.

    Raises:
        RunError: there is one.
    """
    found = [each for each in problems if each is not None]
    for each in found[1:]:
        logger.warning("%s", each)
    if found:
        raise RunError(found[0])
