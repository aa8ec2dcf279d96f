"""Checks before anything expensive starts; each says the rule, the value and the remedy."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from rich.console import Console

from multinas_ray.data import DataSplits, load_splits
from multinas_ray.errors import ConfigError, DataError, RunError, StateError
from multinas_ray.results import check_writable, load_run
from multinas_ray.results.run import CONFIG_FILE
from multinas_ray.results.storage import exists, resolve
from multinas_ray.search.config import OneShotSearchConfig
from multinas_ray.search.sessions import was_started

DIFFERENCES_SHOWN = 5

NODE_POLL_SECONDS = 2.0
"""How often the cluster is looked at while nodes are waited for."""


def check_run_folder(config: OneShotSearchConfig, resume: bool) -> None:
    """A new run needs a free name and a writable folder; a resumed one the same search as before.

    Raises:
        ConfigError: the storage cannot be written, or the name is taken.
        RunError: there is no run to resume.
        StateError: the run to resume is another search.
    """
    check_writable(config.storage_path)
    if not exists(resolve(config.run_path).join(CONFIG_FILE)) or (not resume and not was_started(config.run_path)):
        if resume:
            raise RunError(f"there is no run to resume at {config.run_path}; leave out --resume to start it")
        return
    if not resume:
        raise ConfigError(
            f"a run named {config.name!r} exists in {config.storage_path}; "
            "go on with it by --resume, or choose another --name"
        )
    differences = _differences(_without_layers(load_run(config.run_path).config), _without_layers(config.identity()))
    if differences:
        shown = "; ".join(differences[:DIFFERENCES_SHOWN])
        raise StateError(
            f"{config.run_path} is another search than the one to resume: {shown}. "
            "Resume it with its own settings (its config.json), or start a new run under another --name"
        )


def _differences(recorded: dict[str, Any], wanted: dict[str, Any], path: str = "") -> list[str]:
    """Where two nested settings differ, as 'path: recorded 1, now 2'."""
    found = []
    for key, value in wanted.items():
        old = recorded.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            found += _differences(old, value, f"{path}{key}.")
        elif _plain(old) != _plain(value):
            found.append(f"{path}{key}: recorded {_short(old)}, now {_short(value)}")
    return found


def _without_layers(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with the space by its name and fingerprint, which stands for all its layers."""
    space = settings["space"]
    return {**settings, "space": f"{space['name']} ({space['fingerprint'][:12]})"}


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_data(config: OneShotSearchConfig) -> DataSplits:
    """Load the images once on the driver, so that a bad one is named before any worker starts.

    Raises:
        DataError: images or labels are missing, damaged, or do not fit the space or the batches.
    """
    splits = load_splits(config.data)
    if splits.image_shape != config.space.input_shape:
        raise DataError(
            f"the images are {splits.image_shape} (channels, height, width), the space takes "
            f"{config.space.input_shape}; build the space for these images, or set image_size"
        )
    if splits.num_classes != config.space.num_classes:
        raise DataError(
            f"the images have {splits.num_classes} classes, the space's networks {config.space.num_classes}; "
            "build the space with the number of classes"
        )
    for split, name in (("train", "batch_size"), ("validation", "validation_batch_size")):
        size, batch = len(getattr(splits, split)), getattr(config.training, name)
        if size < batch:
            unit = config.training.norm_batch_size * config.num_workers
            remedy = f"set {name} to {size // unit * unit}" if size >= unit else "use more images or a smaller batch"
            raise DataError(f"{name}={batch} is more than the {size} {split} images; {remedy}")
    return splits


def check_resources(config: OneShotSearchConfig, console: Console) -> None:
    """The cluster's nodes must have what a search's workers ask for, maybe after a wait. Ray must be running.

    Raises:
        RunError: they do not; the message says what they have.
    """
    if config.node_wait_seconds:
        wait_for_nodes(config, console)
    check_room(config.fewest_workers, cpus_per_worker=config.cpus_per_worker, use_gpu=config.use_gpu)


def wait_for_nodes(config: OneShotSearchConfig, console: Console) -> None:
    """Ask the cluster's autoscaler for room for all workers, and wait for it as long as the search may."""
    room, deadline = room_for(config.cpus_per_worker, config.use_gpu), time.monotonic() + config.node_wait_seconds
    if room >= config.num_workers:
        return
    request_resources(bundles=[worker_resources(config.cpus_per_worker, config.use_gpu)] * config.num_workers)
    try:
        with console.status("") as status:
            while room < config.num_workers and time.monotonic() < deadline:
                status.update(f"waiting for nodes: room for {room} of {config.num_workers} workers")
                time.sleep(NODE_POLL_SECONDS)
                room = room_for(config.cpus_per_worker, config.use_gpu)
    finally:
        request_resources(bundles=[])  # from here on the workers themselves are the demand


def worker_resources(cpus_per_worker: float, use_gpu: bool) -> dict[str, float]:
    """What one worker asks Ray for."""
    return {"CPU": cpus_per_worker, **({"GPU": 1.0} if use_gpu else {})}


def room_for(cpus_per_worker: float, use_gpu: bool) -> int:
    """Workers that the cluster's present nodes could hold if they held nothing else. Ray must be running."""
    wanted = worker_resources(cpus_per_worker, use_gpu)
    return sum(min(int(node.get(name, 0) / amount) for name, amount in wanted.items()) for node in _node_resources())


def _node_resources() -> list[dict[str, float]]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def check_room(num_workers: int, *, cpus_per_worker: float, use_gpu: bool) -> None:
    """The cluster's nodes must have room for so many workers. Ray must be running.

    Raises:
        ConfigError: there is to be no worker.
        RunError: there is no room; the message says what the nodes have.
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
