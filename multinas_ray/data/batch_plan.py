"""How a set of images is cut into batches, and which part of each a rank has."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import torch

from multinas_ray.data.normalisation import Normalisation
from multinas_ray.errors import ConfigError, DataError
from multinas_ray.settings import checked


@checked
@dataclass(frozen=True, kw_only=True)
class BatchPlan:
    """The batches of one set of images on one rank, the same for images in memory, encoded images and other samples.

    The global batch consists of groups of `norm_batch_size` consecutive images, over which batch-norm statistics are
    taken. Rank r holds consecutive whole groups, where some ranks have one more than others if the number of groups is
    not divisible. So the shards of all ranks, joined in order, are the global batch.

    Raises:
        ConfigError: Sizes and ranks do not fit together, or the seed is negative.
    """

    batch_size: int
    """Images of the global batch, over all ranks."""
    seed: int
    """Seed of order and augmentation, at least 0; the same on every rank."""
    shuffle: bool
    """False keeps the set's own order in every epoch."""
    mean: Sequence[float] = ()
    """(C,) subtracted from pixels scaled to 0..1; of images alone."""
    std: Sequence[float] = ()
    """(C,) that divides the difference."""
    device: torch.device | str
    """Device of the batches."""
    rank: int = 0
    """This worker, 0..world_size - 1."""
    world_size: int = 1
    """Number of workers."""
    norm_batch_size: int
    """Images per batch-norm group."""
    channels_last: bool = True
    """Memory layout of the batches: channels_last, or contiguous NCHW."""

    def __post_init__(self) -> None:
        batch_size, norm_batch_size, world_size = self.batch_size, self.norm_batch_size, self.world_size
        if min(batch_size, world_size, norm_batch_size) < 1:
            raise ConfigError(
                "batch_size, world_size and norm_batch_size must be at least 1, got "
                f"{batch_size}, {world_size} and {norm_batch_size}"
            )
        if not 0 <= self.rank < world_size:
            raise ConfigError(f"rank must lie in 0..{world_size - 1} (world_size={world_size}), got {self.rank}")
        if batch_size % norm_batch_size:
            below = batch_size // norm_batch_size * norm_batch_size
            working = f"{below} or {below + norm_batch_size}" if below else f"{norm_batch_size}"
            raise ConfigError(
                f"batch_size must be a multiple of norm_batch_size = {norm_batch_size}, so that every worker has "
                f"whole groups, got {batch_size}: use {working}"
            )
        if batch_size < world_size * norm_batch_size:
            raise ConfigError(
                f"batch_size must have a group of norm_batch_size = {norm_batch_size} images for each of world_size = "
                f"{world_size} workers, got {batch_size}: use at least {world_size * norm_batch_size}"
            )
        if self.seed < 0:
            raise ConfigError(f"seed must be at least 0, got {self.seed}")

    def check(self, images: Sized) -> None:
        """Check that a set fills a batch.

        Raises:
            DataError: It does not.
        """
        if len(images) < self.batch_size:
            raise DataError(
                f"batch_size must be at most the number of images, {len(images)}, got {self.batch_size}: "
                "use a smaller batch_size or more images"
            )

    @property
    def shard(self) -> slice:
        """This rank's images of a global batch: whole groups, whose numbers differ by at most one between ranks."""
        first, stop = self.part(self.batch_size // self.norm_batch_size)
        return slice(first * self.norm_batch_size, stop * self.norm_batch_size)

    @property
    def shard_size(self) -> int:
        """Number of this rank's images of a global batch."""
        return int(self.shard.stop - self.shard.start)

    def part(self, total: int) -> tuple[int, int]:
        """Bounds [first, end) of this rank's consecutive part of a set; parts differ by at most one image."""
        return total * self.rank // self.world_size, total * (self.rank + 1) // self.world_size

    def normalisation(self, num_channels: int) -> Normalisation:
        """What makes normalised images of pixels.

        Raises:
            DataError: Mean and std do not match the channels.
        """
        return Normalisation(
            self.mean,
            self.std,
            num_channels=num_channels,
            device=torch.device(self.device),
            channels_last=self.channels_last,
        )
