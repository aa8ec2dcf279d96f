"""The device, the spaces and the images with which every part works.

Notation: N architectures, D positions, B images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch

from experiments.benchmark_input import write_photos
from multinas_ray.data import DataConfig, DataSplits, ImageSet
from multinas_ray.oneshot import Round, RoundWorker, WorkerJob
from multinas_ray.spaces import IntArray, NetworkSpace, imagenet_mobile_space, nas_bench_macro_space
from multinas_ray.supernets import Supernet, WeightTraining, make_supernet

Precision = Literal["float32", "bfloat16"]
Module = TypeVar("Module", bound=torch.nn.Module)
SMALL_GROUP = 4
"""Images of a group of batch normalisation in the parts that compare values."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the work of the parts is."""

    batch: int
    """Images of a timed step."""
    group: int
    """Images of a group of batch normalisation in a timed step."""
    evaluated: int
    """Subnets that are evaluated together."""
    repeats: int
    """Timed calls."""
    warm_steps: int
    """Weight steps before subnets are compared, without which all losses are equal."""
    photos: int
    """JPEGs that are made."""
    input_seconds: float
    """Time in which streamed images are counted."""


FULL = Sizes(batch=128, group=32, evaluated=16, repeats=20, warm_steps=60, photos=512, input_seconds=8.0)
TINY = Sizes(batch=8, group=4, evaluated=2, repeats=1, warm_steps=2, photos=32, input_seconds=0.05)


class Bench:
    """Makes supernets, workers and batches on the device.

    Args:
        device: where the parts compute.
        tiny: whether networks and batches are tiny.
        folder: an empty folder for the files of the parts.
    """

    def __init__(self, device: torch.device, tiny: bool, folder: Path) -> None:
        self.device, self.tiny, self.folder = device, tiny, folder
        self.sizes = TINY if tiny else FULL

    @property
    def has_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.device.type == "cuda"

    @cached_property
    def space(self) -> NetworkSpace:
        """The space whose networks are timed: that of ImageNet."""
        return self.small_space(10) if self.tiny else imagenet_mobile_space()

    def small_space(self, num_classes: int = 10) -> NetworkSpace:
        """The space whose values are compared."""
        if self.tiny:
            return nas_bench_macro_space(num_classes, width_multiplier=0.2, image_size=8)
        return imagenet_mobile_space(num_classes, image_size=64, width_multiplier=0.35)

    @cached_property
    def photos(self) -> Path:
        """A folder with a folder of JPEGs for each of two classes."""
        write_photos(self.folder / "photos", self.sizes.photos)
        return self.folder / "photos" / "train"

    def wait(self) -> None:
        """Wait until the device has done everything."""
        if self.has_gpu:
            torch.cuda.synchronize(self.device)

    def architectures(self, space: NetworkSpace, number: int, seed: int = 0) -> IntArray:
        """Random architectures, (N, D)."""
        return space.search_space.random(number, np.random.default_rng(seed))

    def batch(
        self, space: NetworkSpace, number: int, device: torch.device | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Random images (B, C, H, W) in channels_last, and labels (B,); the same on every device."""
        generator, device = torch.Generator().manual_seed(0), device or self.device
        images = torch.randn(number, *space.input_shape, generator=generator)
        labels = torch.randint(space.num_classes, (number,), generator=generator)
        return images.to(device, memory_format=torch.channels_last), labels.to(device)

    def supernet(self, space: NetworkSpace, group: int, device: torch.device | None = None) -> Supernet:
        """A new supernet, the same on every device."""
        return placed(make_supernet(space, group, 0), device or self.device)

    def splits(self, space: NetworkSpace, number: int) -> DataSplits:
        """Random images in memory, the same ones in all three sets."""
        channels, height, width = space.input_shape
        pixels = np.random.default_rng(0).integers(0, 256, (number, height, width, channels), dtype=np.uint8)
        images = ImageSet(pixels, np.arange(number, dtype=np.int64) % space.num_classes)
        names, half = tuple(map(str, range(space.num_classes))), (0.5,) * channels
        return DataSplits(images, images, images, half, half, names, space.input_shape)

    def worker(
        self,
        space: NetworkSpace,
        batch_size: int,
        *,
        group: int = SMALL_GROUP,
        precision: Precision = "float32",
        images: int | None = None,
        limit_bytes: int | None = None,
    ) -> RoundWorker:
        """A worker of one rank on random images in memory, twice as many as a batch unless a number is given."""
        training = WeightTraining(
            batch_size=batch_size,
            validation_batch_size=batch_size,
            norm_batch_size=group,
            precision=precision,
            learning_rate=0.05,
            activation_bytes_limit=limit_bytes,
        )
        job = WorkerJob(
            space=space,
            data=DataConfig(source="folder", path="unused", image_size=space.input_shape[1]),
            training=training,
            num_weight_steps=1000,
            warmup_rounds=0,
            seed=0,
            broker="",
            namespace="",
            run_path="",
        )
        return RoundWorker(job, self.splits(space, images or 2 * batch_size), self.device)


def placed(module: Module, device: torch.device) -> Module:
    """A module on a device, in channels_last."""
    moved: Module = module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch has no type of memory_format alone
    return moved


def round_of(number: int, trained: IntArray | None = None, evaluated: IntArray | None = None) -> Round:
    """A round that trains and evaluates given architectures, each (N, D)."""
    return Round(number=number, train_architectures=trained, architectures=evaluated)


def round_after_round(worker: RoundWorker, trained: IntArray) -> Callable[[], torch.Tensor]:
    """A function that makes the next weight step each time it is called."""
    number = 0

    def step() -> torch.Tensor:
        nonlocal number
        number += 1
        return worker.run(round_of(number, trained))

    return step
