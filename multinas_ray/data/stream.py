"""Batches as a pure function of the step: equal on every machine, for any number of workers."""

# n images of the set, B images of this rank's shard, H height, W width, C channels

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from multinas_ray.data.augmentation import Augmentation
from multinas_ray.data.images import ImageSet
from multinas_ray.errors import ConfigError, DataError

_EPOCHS_KEPT = 2  # a caller that looks one batch ahead crosses the epoch's border without drawing twice


@dataclass(frozen=True)
class _Epoch:
    order: torch.Tensor  # (n,) int64
    draws: torch.Tensor | None  # (n, 3) int64, see Augmentation.draw


class BatchStream:
    """An endless, shuffled stream of batches over one image set; `batch(step)` needs no earlier step.

    The whole uint8 set lives on `device`. Epoch e is ordered by the permutation of `default_rng((seed, e))`;
    its incomplete last batch is dropped. The global batch consists of groups of `norm_batch_size` consecutive
    images, the unit of batch-norm statistics; rank r holds consecutive whole groups, so the shards of all
    ranks, joined in order, are the global batch. One stream serves one thread.

    Args:
        image_set: The images.
        batch_size: Images of the global batch, over all ranks.
        seed: Of order and augmentation, at least 0; the same on every rank.
        shuffle: False keeps the set's own order in every epoch.
        augment: Random variation, or None.
        mean: (C,) subtracted from pixels scaled to 0..1.
        std: (C,) that divides the difference.
        device: Where the set and the batches live.
        rank: This worker, 0..world_size - 1.
        world_size: Number of workers.
        norm_batch_size: Images per batch-norm group.
        channels_last: Memory layout of the batches: channels_last, or contiguous NCHW.

    Raises:
        ConfigError: Sizes or ranks do not fit together, or the seed is negative.
        DataError: The set holds fewer images than a batch, or mean and std do not match its channels.
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
        _check_sizes(batch_size, rank, world_size, norm_batch_size)
        _check_set(image_set, batch_size, seed, mean, std)
        self.batch_size, self.shard_size = batch_size, batch_size // world_size
        self.batches_per_epoch = len(image_set) // batch_size
        self._seed, self._shuffle, self._augment = seed, shuffle, augment
        self._rank, self._world_size, self._channels_last = rank, world_size, channels_last
        self._device = torch.device(device)
        self._images = self._to_device(image_set.images)
        self._labels = self._to_device(image_set.labels)
        # (pixel / 255 - mean) / std = shift + pixel * scale
        self._scale = self._to_device((1 / (255 * np.asarray(std))).astype(np.float32))
        self._shift = self._to_device((-np.asarray(mean) / np.asarray(std)).astype(np.float32))
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
        start = position * self.batch_size + self._rank * self.shard_size
        return self._assemble(this_epoch.order[start : start + self.shard_size], this_epoch.draws)

    def all_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield every image of the set once, in the set's order, never augmented; for a final evaluation.

        With several ranks each yields its consecutive part of the set; the parts differ by at most one image.
        The last batch may be smaller than `shard_size`.
        """
        total = len(self._labels)
        first, stop = total * self._rank // self._world_size, total * (self._rank + 1) // self._world_size
        for start in range(first, stop, self.shard_size):
            index = torch.arange(start, min(start + self.shard_size, stop), device=self._device)
            yield self._assemble(index, None)

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
            draws = self._to_device(self._augment.draw(seed=self._seed, epoch=epoch, num_images=total))
        return _Epoch(self._to_device(order), draws)

    def _assemble(self, index: torch.Tensor, draws: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        if self._augment is None or draws is None:
            pixels, inside = self._images[index], None
        else:
            pixels, inside = self._augment.apply(self._images, index, draws)
        images = torch.addcmul(self._shift, pixels.to(torch.float32), self._scale)
        if inside is not None:
            images.masked_fill_(~inside, 0.0)
        images = images.permute(0, 3, 1, 2)  # a (B, H, W, C) block seen as NCHW is channels_last already
        if not self._channels_last:
            images = images.contiguous()
        return images, self._labels[index]

    def _to_device(self, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> torch.Tensor:
        tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
        if self._device.type == "cuda":
            # pinned, so that the copy of a new epoch does not make the host wait for the kernels in flight
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)


def _check_set(image_set: ImageSet, batch_size: int, seed: int, mean: Sequence[float], std: Sequence[float]) -> None:
    if seed < 0:
        raise ConfigError(f"seed must be at least 0, not {seed}")
    if len(image_set) < batch_size:
        raise DataError(
            f"a batch of {batch_size} images needs at least as many; the set has {len(image_set)}: "
            "use a smaller batch_size or more images"
        )
    channels = image_set.images.shape[3]
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise DataError(f"mean and std need {channels} values, std above 0: mean={mean}, std={std}")


def _check_sizes(batch_size: int, rank: int, world_size: int, norm_batch_size: int) -> None:
    if min(batch_size, world_size, norm_batch_size) < 1:
        raise ConfigError(
            "batch_size, world_size and norm_batch_size must be at least 1, not "
            f"{batch_size}, {world_size} and {norm_batch_size}"
        )
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank must lie in 0..{world_size - 1} (world_size={world_size}), not {rank}")
    unit = world_size * norm_batch_size
    if batch_size % unit:
        below = batch_size // unit * unit
        working = f"{below} or {below + unit}" if below else f"{unit}"
        raise ConfigError(
            f"batch_size must be a multiple of world_size * norm_batch_size = {world_size} * "
            f"{norm_batch_size} = {unit}, so that every worker holds whole groups; "
            f"{batch_size} is not: use {working}"
        )
