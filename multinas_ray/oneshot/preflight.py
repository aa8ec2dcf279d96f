"""Checks before anything expensive starts. Each error says the rule, the value and the remedy."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from multinas_ray.cluster import (
    NodeFacts,
    NodeNeeds,
    check_nodes,
    check_ranks,
    check_room,
    node_notes,
    say,
    wait_for_room,
)
from multinas_ray.data import DataSplits, image_table, load_splits, open_stream
from multinas_ray.errors import ConfigError, DataError, RunError, StateError
from multinas_ray.oneshot.config import OneShotSearchConfig
from multinas_ray.oneshot.memory_estimate import check_memory, estimate_memory
from multinas_ray.runs import gigabytes, has_record, load_config, repair_config, was_started
from multinas_ray.storage import check_writable
from multinas_ray.tasks import check_task

logger = logging.getLogger(__name__)

DIFFERENCES_SHOWN = 5


def check_run_folder(config: OneShotSearchConfig, resume: bool) -> None:
    """Check that a new run has a free name and a writable folder, or that a resumed run is the same search as before.

    Raises:
        ConfigError: the storage cannot be written, or the name is taken.
        RunError: there is no run to resume.
        StateError: the run to resume is a different search.
    """
    check_writable(config.storage_path)
    if not resume:
        if not was_started(config.run_path):
            return
        raise ConfigError(
            f"the name of a new run must be free, {config.storage_path} has a run {config.name!r}: go on with it with "
            "--resume, or choose another --name"
        )
    if not has_record(config.run_path):
        raise RunError(f"there is no run to resume at {config.run_path}: leave out --resume to start it")
    if (repaired := repair_config(config.run_path)) is not None:
        logger.warning("%s", repaired)
    recorded = load_config(config.run_path)
    if recorded["kind"] != "oneshot":
        raise StateError(
            f"{config.run_path} is the record of a Tune search, not of a one-shot search: choose another --name"
        )
    differences = _differences(_without_layers(recorded), _without_layers(config.identity()))
    if differences:
        shown = "; ".join(differences[:DIFFERENCES_SHOWN])
        raise StateError(
            f"a resumed search must have its own settings, those of {config.run_path} differ ({shown}): resume it with "
            "the settings of its config.json, or start a new run under another --name"
        )


def _differences(recorded: dict[str, Any], wanted: dict[str, Any], path: str = "") -> list[str]:
    """The differences of two nested settings, such as 'path: recorded 1, now 2'."""
    found = []
    for key, value in wanted.items():
        old = recorded.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            found += _differences(old, value, f"{path}{key}.")
        elif _plain(old) != _plain(value):
            found.append(f"{path}{key}: recorded {_short(old)}, now {_short(value)}")
    return found


def _without_layers(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, in which the name and the fingerprint of the space stand for all its layers."""
    space = settings.get("space") or {}
    return {**settings, "space": f"{space.get('name')} ({str(space.get('fingerprint'))[:12]})"}


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_data(config: OneShotSearchConfig) -> DataSplits:
    """Load the images once on the driver, so that a damaged one is named before any worker starts.

    Raises:
        DataError: images or labels are missing, damaged, or do not fit the space or the batches.
    """
    splits = load_splits(config.data)
    if splits.inputs != config.space.inputs:
        if splits.image_shape is None:
            raise DataError(
                f"the model takes {config.space.inputs} for a sample, the dataset gives {splits.inputs}: make the "
                "space with a sample of the dataset, or let __getitem__ return what forward takes"
            )
        raise DataError(
            f"the space takes images of shape {_shape(config.space.inputs)} (channels, height, width), got "
            f"{splits.image_shape}: build the space for these images, or set image_size"
        )
    if splits.class_names and splits.num_classes != config.space.num_classes:
        raise DataError(
            f"networks of the space have {config.space.num_classes} classes, the images have {splits.num_classes}: "
            "build the space with the number of classes of the images"
        )
    for split, name in (("train", "batch_size"), ("validation", "validation_batch_size")):
        size, batch = len(getattr(splits, split)), getattr(config.training, name)
        if size < batch:
            unit = config.training.norm_batch_size * config.num_workers
            remedy = f"set {name} to {size // unit * unit}" if size >= unit else "use more images or a smaller batch"
            raise DataError(f"{name} must be at most the {size} {split} images, got {batch}: {remedy}")
    check_task(config.task, config.space.outputs, targets_of(splits))
    return splits


def targets_of(splits: DataSplits) -> Any:
    """The targets of two validation samples."""
    stream = open_stream(
        splits.validation,
        augment=None,
        batch_size=min(2, len(splits.validation)),
        seed=0,
        shuffle=True,
        mean=splits.mean,
        std=splits.std,
        device="cpu",
        norm_batch_size=1,
    )
    return stream.batch(0)[1]


def _shape(structure: object) -> str:
    """The shape in the structure of one tensor, as numbers in brackets."""
    return f"({str(structure).partition('[')[2].rstrip(']')})"


def tell_images(splits: DataSplits, console: Console) -> None:
    """Print what was found of the user's own images; for other images there is nothing to tell."""
    if splits.left_out or splits.notes:
        console.print(image_table(splits))


def check_resources(config: OneShotSearchConfig, console: Console) -> None:
    """Check that the nodes have what the workers ask for, waiting for nodes if wanted. Ray must be running.

    Raises:
        RunError: they have not; the message says what they have.
    """
    if config.node_wait_seconds:
        wait_for_room(
            config.num_workers,
            cpus_per_worker=config.cpus_per_worker,
            use_gpu=config.use_gpu,
            wait_seconds=config.node_wait_seconds,
            console=console,
        )
    check_room(config.fewest_workers, cpus_per_worker=config.cpus_per_worker, use_gpu=config.use_gpu)


def check_gpus(config: OneShotSearchConfig, facts: Sequence[NodeFacts]) -> None:
    """Check that the smallest GPU holds one subnet, with as few workers as the search may go on with.

    Raises:
        RunError: it does not; the message says what is needed.
    """
    needed = estimate_memory(config.space, config.training, config.fewest_workers).least
    for each in facts:
        for memory in each.gpu_bytes:
            if memory < needed:
                raise RunError(
                    f"a GPU must hold one subnet, for which {config.fewest_workers} worker(s) need {gigabytes(needed)} "
                    f"each, a GPU of {each.address} has {gigabytes(memory)}: use more workers, a smaller batch_size, "
                    "precision='bfloat16' or larger GPUs"
                )


def needs_of(config: OneShotSearchConfig) -> NodeNeeds:
    """What the workers of a search need of their nodes."""
    training = config.training
    batches = training.batch_size, training.validation_batch_size
    images = sum(training.largest_shard(each, config.num_workers) for each in batches)
    return NodeNeeds(
        num_workers=config.num_workers,
        cpus_per_worker=config.cpus_per_worker,
        use_gpu=config.use_gpu,
        bfloat16=training.precision == "bfloat16",
        is_group=config.num_workers > 1,
        decoded_bytes=config.data.decoded_bytes(images, config.space.inputs),
        decode_processes=config.data.decode_processes,
    )


def check_cluster(
    config: OneShotSearchConfig, console: Console, *, has_images: bool = True
) -> tuple[list[NodeFacts], float | None]:
    """Ask every node for the facts that a search depends on, and check them. Ray must be running.

    Args:
        config: the search.
        console: where it is told what makes workers slow.
        has_images: False if the images do not exist yet.

    Returns:
        The facts, and the bytes a second that a worker sends in an all-reduce; None if there is nothing to average.

    Raises:
        RunError: a node cannot do what a worker there needs; the message names it.
    """
    needs = needs_of(config)
    facts = check_nodes(config.storage_path, config.data.path if has_images else None, needs)
    if config.use_gpu:
        check_gpus(config, facts)
    else:
        memory = estimate_memory(config.space, config.training, config.fewest_workers)
        for each in facts:
            check_memory(memory, each.free_bytes, each.address)
    for note in node_notes(facts, needs):
        say(console, note)
    return facts, check_ranks(needs) if config.use_gpu or len(facts) > 1 else None
