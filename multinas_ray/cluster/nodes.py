"""Checks on every node of the cluster, before a search spends anything: versions, storage, images, GPUs."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from multinas_ray.cluster.probe import NodeFacts, probe_node
from multinas_ray.errors import RunError
from multinas_ray.runs import gigabytes
from multinas_ray.storage import check_writable, delete_file, resolve, write_atomic

PROBE_SECONDS = 180.0
"""Longest time the nodes get to answer; the first task of a node starts a process there."""


def check_nodes(storage_path: str, data_path: str | None) -> list[NodeFacts]:
    """Ask every node what a search needs to know of it. Ray must be running.

    Args:
        storage_path: the folder of all runs, which every node must be able to write to.
        data_path: where the images lie, which every node must see; None where they are not there yet.

    Raises:
        RunError: nodes differ in their versions, or one cannot use the storage or does not see the images.
    """
    storage = resolve(storage_path)
    marker = storage.join(f".multinas-nodes-{uuid.uuid4().hex}")
    check_writable(storage)
    write_atomic(marker, b"")
    try:
        facts = _probe_all(str(storage), str(marker), data_path)
    finally:
        delete_file(marker)
    check_versions(facts)
    for each in facts:
        if each.storage_problem is not None:
            raise RunError(
                f"the node {each.address} cannot use the storage {storage_path}: {each.storage_problem}; give "
                "a folder that all nodes share, or a bucket (s3://) that all may use, as --storage"
            )
        if not each.sees_images:
            raise RunError(
                f"the node {each.address} does not see the images at {data_path}: put them where every node "
                "finds them under this path, on a shared disk or in a bucket"
            )
    return facts


def _probe_all(storage: str, marker: str, data_path: str | None) -> list[NodeFacts]:
    probe = ray.remote(num_cpus=0)(probe_node)
    answers = {
        probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            node["NodeManagerAddress"], marker, storage, data_path
        ): node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"]
    }
    done, waiting = ray.wait(list(answers), num_returns=len(answers), timeout=PROBE_SECONDS)
    if waiting:
        silent = ", ".join(sorted(answers[each] for each in waiting))
        raise RunError(f"no answer within {PROBE_SECONDS:.0f} s from the nodes {silent}: repair or remove them")
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
