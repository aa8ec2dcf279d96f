"""Checks on every node of the cluster, before a search spends anything: versions, storage, images, GPUs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from multinas_ray.errors import RunError
from multinas_ray.results import check_writable
from multinas_ray.results.storage import below, delete_file, parent, write_atomic
from multinas_ray.search.config import OneShotSearchConfig
from multinas_ray.train.memory import estimate_memory, gigabytes
from multinas_ray.train.probe import NodeFacts, probe_node

PROBE_SECONDS = 180.0
"""Longest time the nodes get to answer; the first task of a node starts a process there."""


def check_nodes(config: OneShotSearchConfig, *, has_images: bool = True) -> list[NodeFacts]:
    """Ask every node what a search needs to know of it. Ray must be running.

    Args:
        config: the search.
        has_images: False where the images are not there yet.

    Raises:
        RunError: nodes differ in their versions, one cannot see the storage or the images, or has GPUs too small.
    """
    storage = parent(config.run_path)
    marker = below(storage, f".multinas-nodes-{uuid.uuid4().hex}")
    check_writable(storage)
    write_atomic(marker, b"")
    try:
        facts = _probe_all(storage, marker, config.data.path if has_images else None)
    finally:
        delete_file(marker)
    check_versions(facts)
    for each in facts:
        if each.storage_problem is not None:
            raise RunError(
                f"the node {each.address} cannot use the storage {config.storage_path}: {each.storage_problem}; give "
                "a folder that all nodes share, or a bucket (s3://) that all may use, as --storage"
            )
        if not each.sees_images:
            raise RunError(
                f"the node {each.address} does not see the images at {config.data.path}: put them where every node "
                "finds them under this path, on a shared disk or in a bucket"
            )
    if config.use_gpu:
        check_gpus(config, facts)
    return facts


def _probe_all(storage: str, marker: str, data_path: str | None) -> list[NodeFacts]:
    probe = ray.remote(num_cpus=0)(probe_node)
    answers = {
        probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            node["NodeManagerAddress"], marker, storage, data_path
        ): node["NodeManagerAddress"]
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    }
    done, waiting = ray.wait(list(answers), num_returns=len(answers), timeout=PROBE_SECONDS)
    if waiting:
        silent = ", ".join(sorted(answers[each] for each in waiting))
        raise RunError(f"no answer within {PROBE_SECONDS:.0f} s from the nodes {silent}; mend or remove them")
    facts = []
    for each in done:
        try:
            facts.append(ray.get(each))
        except ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines() or [repr(error)]
            raise RunError(f"the node {answers[each]} cannot be asked: {lines[-1]}; is this package there?") from error
    return sorted(facts, key=lambda node: node.address)


def check_versions(facts: Sequence[NodeFacts]) -> None:
    """Nodes must have the same software.

    Raises:
        RunError: two differ; the message names them and the package.
    """
    first = facts[0]
    for each in facts[1:]:
        for name, found in each.versions.items():
            if found != first.versions[name]:
                raise RunError(
                    f"nodes differ: {name} is {found} on {each.address} and {first.versions[name]} on {first.address}; "
                    "install the same on all"
                )


def check_gpus(config: OneShotSearchConfig, facts: Sequence[NodeFacts]) -> None:
    """The smallest GPU must hold one subnet, with as few workers as the search may go on with.

    Raises:
        RunError: it does not; the message says what is needed.
    """
    needed = estimate_memory(config.space, config.training, config.fewest_workers).least
    for each in facts:
        for memory in each.gpu_bytes:
            if memory < needed:
                raise RunError(
                    f"a GPU of {each.address} is too small for one subnet: it has {gigabytes(memory)}, "
                    f"{config.fewest_workers} worker(s) need {gigabytes(needed)} each; use more workers, a smaller "
                    "batch_size, precision='bfloat16' or larger GPUs"
                )


def describe_nodes(facts: Sequence[NodeFacts]) -> list[tuple[str, str]]:
    """Rows of name and text for the terminal."""
    gpus = [memory for each in facts for memory in each.gpu_bytes]
    smallest = f", {gigabytes(min(gpus))} the smallest" if gpus else ""
    versions = ", ".join(f"{name} {found}" for name, found in facts[0].versions.items() if found is not None)
    return [
        ("nodes", f"{len(facts)}, all see the storage and the images"),
        ("GPUs", f"{len(gpus)}{smallest}"),
        ("software", versions),
    ]
