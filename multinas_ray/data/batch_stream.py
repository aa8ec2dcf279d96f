"""Batches as a pure function of the step: equal on every machine, for any number of workers."""

# n images of the set, B images of this rank's shard, H height, W width, C channels

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass

import numpy as np
import torch

from multinas_ray.data.augmentation import Augmentation
from multinas_ray.data.images import ImageSet
from multinas_ray.data.normalisation import Normalisation, to_device
from multinas_ray.errors import ConfigError, DataError

_EPOCHS_KEPT = 2  # so that a caller who looks one batch ahead does not draw an epoch twice


@dataclass(frozen=True)
class _Epoch:
    order: torch.Tensor  # (n,) int64
    draws: torch.Tensor | None  # (n, 3) int64, see Augmentation.draw


class BatchStream:
    """An endless, shuffled stream of batches over one image set; `batch(step)` needs no earlier step.

    The whole uint8 set lives on `device`. Epoch e is ordered by the permutation of `default_rng((seed, e))`;
    its incomplete last batch is dropped. The global batch consists of groups of `norm_batch_size` consecutive
    images, over which batch-norm statistics are taken. Rank r holds consecutive whole groups, where some ranks have one
    more than others if the number of groups is not divisible. So the shards of all ranks, joined in order, are the
    global batch. A stream may be used by one thread only.

    Args:
        image_set: The images.
        batch_size: Images of the global batch, over all ranks.
        seed: Seed of order and augmentation, at least 0; the same on every rank.
        shuffle: False keeps the set's own order in every epoch.
        augment: Random variation, or None.
        mean: (C,) subtracted from pixels scaled to 0..1.
        std: (C,) that divides the difference.
        device: Device of the set and the batches.
        rank: This worker, 0..world_size - 1.
        world_size: Number of workers.
        norm_batch_size: Images per batch-norm group.
        channels_last: Memory layout of the batches: channels_last, or contiguous NCHW.

    Raises:
        ConfigError: Sizes and ranks do not fit together, or the seed is negative.
        DataError: The set has fewer images than a batch, or mean and std do not match its channels.
    """

    def __init__(
        self,
        image_set: ImageSet,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool,
        augment: Augmentation | None,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device | str,
        rank: int = 0,
        world_size: int = 1,
        norm_batch_size: int,
        channels_last: bool = True,
    ) -> None:
        check_sizes(image_set, batch_size, seed, rank, world_size, norm_batch_size)
        self.batch_size = batch_size
        self._first, stop = shard_of_rank(batch_size, norm_batch_size, rank, world_size)
        self.shard_size = stop - self._first
        self.batches_per_epoch = len(image_set) // batch_size
        self._seed, self._shuffle, self._augment = seed, shuffle, augment
        self._rank, self._world_size = rank, world_size
        self._device = torch.device(device)
        self._normalise = Normalisation(
            mean, std, num_channels=image_set.images.shape[3], device=self._device, channels_last=channels_last
        )
        self._images = to_device(image_set.images, self._device)
        self._labels = to_device(image_set.labels, self._device)
        self._epochs: dict[int, _Epoch] = {}

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return this rank's shard of the global batch of a step.

        Args:
            step: Number of the batch, from 0, counted over all epochs.

        Returns:
            (B, C, H, W) float32 normalised images and (B,) int64 labels, on the device.
        """
        epoch, position = divmod(step, self.batches_per_epoch)
        this_epoch = self._epoch(epoch)
        start = position * self.batch_size + self._first
        return self._assemble(this_epoch.order[start : start + self.shard_size], this_epoch.draws)

    def all_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield every image of the set once, in the set's order, never augmented; for a final evaluation.

        With several ranks each yields its consecutive part of the set; the parts differ by at most one image.
        The last batch may be smaller than `shard_size`.
        """
        first, stop = part_of_rank(len(self._labels), self._rank, self._world_size)
        for start in range(first, stop, self.shard_size):
            index = torch.arange(start, min(start + self.shard_size, stop), device=self._device)
            yield self._assemble(index, None)

    @property
    def damaged_images(self) -> tuple[str, ...]:
        """Empty, since `load_splits` has left out images that cannot be decoded."""
        return ()

    def _epoch(self, epoch: int) -> _Epoch:
        if epoch not in self._epochs:
            while len(self._epochs) >= _EPOCHS_KEPT:
                del self._epochs[next(iter(self._epochs))]
            self._epochs[epoch] = self._draw_epoch(epoch)
        return self._epochs[epoch]

    def _draw_epoch(self, epoch: int) -> _Epoch:
        total = len(self._labels)
        order = np.arange(total)
        if self._shuffle:
            order = np.random.default_rng((self._seed, epoch)).permutation(total)
        draws = None
        if self._augment is not None:
            draws = to_device(self._augment.draw(seed=self._seed, epoch=epoch, num_images=total), self._device)
        return _Epoch(to_device(order, self._device), draws)

    def _assemble(self, index: torch.Tensor, draws: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        if self._augment is None or draws is None:
            pixels, inside = self._images[index], None
        else:
            pixels, inside = self._augment.apply(self._images, index, draws)
        return self._normalise(pixels, inside), self._labels[index]


def part_of_rank(total: int, rank: int, world_size: int) -> tuple[int, int]:
    """Bounds [first, end) of a rank's consecutive part of a set; parts differ by at most one image."""
    return total * rank // world_size, total * (rank + 1) // world_size


def shard_of_rank(batch_size: int, norm_batch_size: int, rank: int, world_size: int) -> tuple[int, int]:
    """Bounds [first, end) of a rank's shard of a batch: whole groups, whose numbers differ by at most one."""
    first, stop = part_of_rank(batch_size // norm_batch_size, rank, world_size)
    return first * norm_batch_size, stop * norm_batch_size


def check_sizes(images: Sized, batch_size: int, seed: int, rank: int, world_size: int, norm_batch_size: int) -> None:
    """Check the arguments that all streams share, see `BatchStream`."""
    if min(batch_size, world_size, norm_batch_size) < 1:
        raise ConfigError(
            "batch_size, world_size and norm_batch_size must be at least 1, got "
            f"{batch_size}, {world_size} and {norm_batch_size}"
        )
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank must lie in 0..{world_size - 1} (world_size={world_size}), got {rank}")
    if batch_size % norm_batch_size:
        below = batch_size // norm_batch_size * norm_batch_size
        working = f"{below} or {below + norm_batch_size}" if below else f"{norm_batch_size}"
        raise ConfigError(
            f"batch_size must be a multiple of norm_batch_size = {norm_batch_size}, so that every worker has whole "
            f"groups, got {batch_size}: use {working}"
        )
    if batch_size < world_size * norm_batch_size:
        raise ConfigError(
            f"batch_size must have a group of norm_batch_size = {norm_batch_size} images for each of world_size = "
            f"{world_size} workers, got {batch_size}: use at least {world_size * norm_batch_size}"
        )
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, got {seed}")
    if len(images) < batch_size:
        raise DataError(
            f"batch_size must be at most the number of images, {len(images)}, got {batch_size}: "
            "use a smaller batch_size or more images"
        )
