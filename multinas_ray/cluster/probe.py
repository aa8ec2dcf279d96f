"""Facts about a node that are collected before a search. Without torch, which every node would import only for this."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from multinas_ray.errors import MultiNASError
from multinas_ray.settings import checked
from multinas_ray.storage import check_writable, exists, resolve

SAME_EVERYWHERE = ("ray", "torch", "torchvision", "numpy", "multinas-ray")
"""Packages whose version must be the same on every node; so must Python's."""


@checked
@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """Facts about a node."""

    address: str
    versions: Mapping[str, str | None]
    """Versions of Python and of `SAME_EVERYWHERE`; None if a package is not installed."""
    storage_problem: str | None
    """Why the run's storage cannot be used on the node; None if it can."""
    sees_images: bool
    """Whether the path of the images exists on the node."""
    gpu_bytes: Sequence[int]
    """Memory of each GPU."""


def probe_node(address: str, marker: str, storage: str, data_path: str | None) -> NodeFacts:
    """Collect the facts about the node on which this runs."""
    return NodeFacts(
        address=address,
        versions={"python": platform.python_version(), **{name: _version(name) for name in SAME_EVERYWHERE}},
        storage_problem=_storage_problem(marker, storage),
        sees_images=data_path is None or exists(resolve(data_path)),
        gpu_bytes=_gpu_bytes(),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _storage_problem(marker: str, storage: str) -> str | None:
    try:
        if not exists(resolve(marker)):
            return "a file that the driver has just written there is missing"
        check_writable(storage)
    except (MultiNASError, OSError) as error:
        return str(error)
    return None


def _gpu_bytes() -> list[int]:
    """Memory of all GPUs of the node, including those that this task may not use."""
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout
        return [int(line) * 2**20 for line in answer.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
