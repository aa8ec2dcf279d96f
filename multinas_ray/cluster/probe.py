"""Facts about a node that are collected before a search. Without torch, which every node would import only for this."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ray.util import get_node_ip_address

from multinas_ray.data import available_memory_bytes, usable_cores
from multinas_ray.errors import MultiNASError, RunError
from multinas_ray.settings import NonNegativeFloat, NonNegativeInt, PositiveInt, checked
from multinas_ray.storage import check_writable, exists, resolve

SAME_EVERYWHERE = ("ray", "torch", "torchvision", "numpy", "multinas-ray")
"""Packages whose version must be the same on every node; so must Python's."""
SHARED_MEMORY = Path("/dev/shm")


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
    free_bytes: int | None
    """Memory of the node, or of its container, that is free; None if it is unknown."""
    cores: PositiveInt
    """Cores that its processes may use, by affinity and cgroup."""
    ray_cpus: NonNegativeFloat
    """CPUs that Ray counts there."""
    ray_gpus: NonNegativeFloat
    """GPUs that Ray counts there."""
    shared_bytes: NonNegativeInt | None
    """Free bytes of /dev/shm; None if there is none."""
    driver: str | None
    """Version of the NVIDIA driver; None if nvidia-smi does not tell it."""
    driver_cuda: str | None
    """Newest CUDA that the driver supports; None if nvidia-smi does not tell it."""
    wheel_cuda: str | None
    """CUDA for which torch is built; None if it is built for CPUs, or not there."""


def probe_node(
    address: str, marker: str, storage: str, data_path: str | None, resources: Mapping[str, float]
) -> NodeFacts:
    """Collect the facts about the node on which this runs.

    Args:
        address: that of the node.
        marker: a file that the driver has written into the storage.
        storage: the folder of all runs.
        data_path: place of the images; None if there are none.
        resources: what Ray counts on the node.
    """
    memory, status = _gpu_bytes(), _answer_of("nvidia-smi")
    return NodeFacts(
        address=address,
        versions=software_versions(),
        storage_problem=_storage_problem(marker, storage),
        sees_images=data_path is None or exists(resolve(data_path)),
        gpu_bytes=memory,
        free_bytes=available_memory_bytes(),
        cores=usable_cores(),
        ray_cpus=resources.get("CPU", 0.0),
        ray_gpus=resources.get("GPU", 0.0),
        shared_bytes=shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else None,
        driver=_found(r"Driver Version:\s*([\d.]+)", status),
        driver_cuda=_found(r"CUDA Version:\s*([\d.]+)", status),
        wheel_cuda=_wheel_cuda(),
    )


def software_versions() -> dict[str, str | None]:
    """Versions of Python and of `SAME_EVERYWHERE` in this process; None if a package is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in SAME_EVERYWHERE}}


def check_software(versions: Mapping[str, str | None]) -> None:
    """Check in a worker that its node has the driver's software, since nodes may join after all were checked.

    Args:
        versions: what `software_versions` gives in the driver.

    Raises:
        RunError: a version differs; the message names it and the node.
    """
    for name, found in software_versions().items():
        if found != versions.get(name):
            raise RunError(
                f"all nodes must have the same version of {name}, got {found} on {get_node_ip_address()}, where a "
                f"worker has started, and {versions.get(name)} where the run did: install the same version there, or "
                "remove the node"
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
    answer = _answer_of("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")
    try:
        return [int(line) * 2**20 for line in answer.split()]
    except ValueError:
        return []


def _answer_of(*command: str) -> str:
    """What a command prints; nothing if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return None if match is None else match.group(1)


def _wheel_cuda() -> str | None:
    """The CUDA of torch as its file version.py tells it, without loading torch."""
    spec = importlib.util.find_spec("torch")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder, "version.py")
        if file.is_file():
            return _found(r"(?m)^cuda\b[^=]*=\s*'([\d.]+)'", file.read_text())
    return None
