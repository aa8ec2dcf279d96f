"""The training of one network: host waits in its steps, its losses and its saved state."""

from __future__ import annotations

import io
from contextlib import ExitStack
from typing import Any, Literal

import torch

from experiments.gpu_check.bench import Bench, placed
from experiments.gpu_check.findings import Finding
from experiments.gpu_check.measuring import host_waits
from experiments.gpu_check.waiting import PLACES_TOLD
from multinas_ray.data import DataConfig, standard_augmentation
from multinas_ray.retraining import NetworkTraining, RetrainConfig
from multinas_ray.supernets import build_subnet
from multinas_ray.tasks import Task

AUGMENTATIONS: tuple[Literal["none", "cutout", "randaugment"], ...] = ("none", "cutout", "randaugment")
STEPS_OF_EPOCH = 4


def retraining(bench: Bench) -> Finding:
    """Two epochs with each augmentation; host waits are listed in the steps of the second but its first."""
    found = Finding()
    for augmentation in AUGMENTATIONS:
        config = RetrainConfig(epochs=2, batch_size=8 if bench.tiny else 64, augmentation=augmentation)
        training = _training(bench, config)
        first = training.run_epoch()
        places, second = _listed_epoch(training, bench.device)
        assert first is not None
        found.figures[augmentation] = {
            "losses": [first["train_loss"], second["train_loss"]],
            "images_per_second": second["images_per_second"],
            "steps": STEPS_OF_EPOCH - 1,
            "host waits": len(places),
            "places": places[:PLACES_TOLD],
        }
        found.check(not places, f"{augmentation}: the host waits {len(places)} times in {STEPS_OF_EPOCH - 1} steps")
        found.check(_goes_on(bench, config, training), f"{augmentation}: the state that was read is not that saved")
    return found


def _training(bench: Bench, config: RetrainConfig) -> NetworkTraining:
    """A training on random images in memory."""
    space = bench.small_space()
    network = placed(build_subnet(space, bench.architectures(space, 1)[0]), bench.device)
    loss = config.training_loss.start(space, Task(), "", bench.device)
    splits = bench.splits(space, STEPS_OF_EPOCH * config.step_images // 2)  # trained on: two sets of so many
    size = space.input_shape[1]
    crops = standard_augmentation(DataConfig(source="folder", path="unused", image_size=size), size)
    return NetworkTraining(network, config, loss, splits, crops, bench.device)


def _listed_epoch(training: NetworkTraining, device: torch.device) -> tuple[list[str], dict[str, Any]]:
    """Train an epoch: the host waits after its first step, and its row."""
    places: list[str] = []
    with ExitStack() as listing:

        def after_a_step() -> bool:
            nonlocal places
            if training.step == 1:
                places = listing.enter_context(host_waits(device))
            elif training.step == STEPS_OF_EPOCH:
                listing.close()
            return False

        row = training.run_epoch(after_a_step)
    assert row is not None
    return places, dict(row)


def _goes_on(bench: Bench, config: RetrainConfig, training: NetworkTraining) -> bool:
    """Whether a new training has the same weights after it has read the state of a training."""
    saved = io.BytesIO()
    torch.save(training.state_dict(), saved)
    saved.seek(0)
    other = _training(bench, config)
    other.load_state_dict(torch.load(saved, map_location=bench.device, weights_only=True))
    pairs = zip(training.trained.parameters(), other.trained.parameters(), strict=True)
    return other.epoch == training.epoch and all(torch.equal(one, another) for one, another in pairs)
