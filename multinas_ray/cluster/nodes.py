"""Checks of every node of the cluster before a search starts: versions, storage, images and what workers need."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

import ray
from annotated_types import MinLen
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from rich.console import Console

from multinas_ray.cluster.needs import NodeNeeds, node_notes, node_problems
from multinas_ray.cluster.probe import NodeFacts, probe_node
from multinas_ray.cluster.ranks import check_ranks, raise_first
from multinas_ray.cluster.side_matters import say
from multinas_ray.errors import RunError, last_line
from multinas_ray.runs import gigabytes
from multinas_ray.settings import checked_arguments
from multinas_ray.storage import check_writable, delete_file, resolve, write_atomic

PROBE_SECONDS = 180.0
"""Longest time that nodes have for an answer; the first task on a node starts a process there."""


def check_nodes(storage_path: str, data_path: str | None, needs: NodeNeeds) -> list[NodeFacts]:
    """Check on every node what workers need. Ray must be running.

    Args:
        storage_path: the folder of all runs, which every node must be able to write to.
        data_path: place of the images, which every node must see; None if the images do not exist yet.
        needs: what the workers need beside them.

    Raises:
        RunError: Nodes have different versions, or a node cannot use the storage, does not see the images or lacks what
            workers need.
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
                f"every node must be able to use the storage {storage_path}, but {each.address} cannot "
                f"({each.storage_problem}): give a folder that all nodes share, or a bucket (s3://) that all may use, "
                "as --storage"
            )
        if not each.sees_images:
            raise RunError(
                f"every node must see the images at {data_path}, but {each.address} does not: put them on a shared "
                "disk or in a bucket, under the same path for every node"
            )
    raise_first(node_problems(facts, needs))
    return facts


def check_workers(folder: str, data_path: str | None, needs: NodeNeeds, console: Console) -> None:
    """Check the nodes as `check_nodes` does, and as `check_ranks` if there are several or GPUs. Ray must be running.

    Args:
        folder: the folder that workers on every node read and write.
        data_path: place of the images.
        needs: what the workers need beside them.
        console: where it is told what makes workers slow.

    Raises:
        RunError: as `check_nodes` and `check_ranks`.
    """
    for note in node_notes(check_nodes(folder, data_path, needs), needs):
        say(console, note)
    if needs.use_gpu or len(_alive_nodes()) > 1:
        check_ranks(needs)


def _alive_nodes() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _probe_all(storage: str, marker: str, data_path: str | None) -> list[NodeFacts]:
    if len(alive := _alive_nodes()) == 1:  # which is this machine
        return [probe_node(alive[0]["NodeManagerAddress"], marker, storage, data_path, alive[0]["Resources"])]
    probe = ray.remote(num_cpus=0)(probe_node)
    answers = {
        probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
            node["NodeManagerAddress"], marker, storage, data_path, node["Resources"]
        ): node["NodeManagerAddress"]
        for node in alive
    }
    done, waiting = ray.wait(list(answers), num_returns=len(answers), timeout=PROBE_SECONDS)
    if waiting:
        silent = ", ".join(sorted(answers[each] for each in waiting))
        raise RunError(
            f"every node must answer within {PROBE_SECONDS:.0f} s, these did not: {silent}; repair or remove them"
        )
    facts = []
    for each in done:
        try:
            facts.append(ray.get(each))
        except ray.exceptions.RayError as error:
            raise RunError(
                f"the node {answers[each]} cannot be checked ({last_line(error)}): make sure that this package is "
                "installed there"
            ) from error
    return sorted(facts, key=lambda node: node.address)


@checked_arguments
def check_versions(facts: Annotated[Sequence[NodeFacts], MinLen(1)]) -> None:
    """Check that all nodes have the same software.

    Raises:
        RunError: Two nodes differ; the message names them and the package.
    """
    first = facts[0]
    for each in facts[1:]:
        for name, found in each.versions.items():
            if found != first.versions[name]:
                raise RunError(
                    f"all nodes must have the same version of {name}, got {found} on {each.address} and "
                    f"{first.versions[name]} on {first.address}: install the same version on all"
                )


def describe_nodes(facts: Sequence[NodeFacts]) -> list[tuple[str, str]]:
    """Rows of name and text for the terminal."""
    gpus = [memory for each in facts for memory in each.gpu_bytes]
    smallest = f", {gigabytes(min(gpus))} the smallest" if gpus else ""
    versions = ", ".join(f"{name} {found}" for name, found in facts[0].versions.items() if found is not None)
    return [
        ("nodes", f"{len(facts)}; all of them see the storage and the images"),
        ("GPUs", f"{len(gpus)}{smallest}"),
        ("software", versions),
    ]
