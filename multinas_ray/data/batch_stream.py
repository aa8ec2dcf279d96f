"""Batches as a pure function of the step: equal on every machine, for any number of workers."""

# n images of the set, B images of this rank's shard, H height, W width, C channels

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from multinas_ray.data.augmentation import Augmentation
from multinas_ray.data.batch_plan import BatchPlan
from multinas_ray.data.images import ImageSet
from multinas_ray.data.normalisation import to_device
from multinas_ray.settings import checked_arguments

_EPOCHS_KEPT = 2  # so that a caller who looks one batch ahead does not draw an epoch twice


@dataclass(frozen=True)
class _Epoch:
    order: torch.Tensor  # (n,) int64
    draws: torch.Tensor | None  # (n, 3) int64, see Augmentation.draw


class BatchStream:
    """An endless, shuffled stream of batches over one image set; `batch(step)` needs no earlier step.

    The whole uint8 set lives on `device`. Epoch e is ordered by the permutation of `default_rng((seed, e))`;
    its incomplete last batch is dropped. A stream may be used by one thread only.

    Args:
        image_set: The images.
        plan: The batches.
        augment: Random variation, or None.

    Raises:
        DataError: The set has fewer images than a batch, or mean and std do not match its channels.
    """

    @checked_arguments
    def __init__(self, image_set: ImageSet, plan: BatchPlan, augment: Augmentation | None) -> None:
        plan.check(image_set)
        self._plan, self._augment = plan, augment
        self.batch_size, self.shard_size = plan.batch_size, plan.shard_size
        self.batches_per_epoch = len(image_set) // plan.batch_size
        self._device = torch.device(plan.device)
        self._normalise = plan.normalisation(image_set.images.shape[3])
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
        start = position * self.batch_size + self._plan.shard.start
        return self._assemble(this_epoch.order[start : start + self.shard_size], this_epoch.draws)

    def batches(self, steps: range) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of these steps."""
        return map(self.batch, steps)

    def all_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield every image of the set once, in the set's order, never augmented; for a final evaluation.

        With several ranks each yields its consecutive part of the set; the parts differ by at most one image.
        The last batch may be smaller than `shard_size`.
        """
        first, stop = self._plan.part(len(self._labels))
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
        if self._plan.shuffle:
            order = np.random.default_rng((self._plan.seed, epoch)).permutation(total)
        draws = None
        if self._augment is not None:
            draws = to_device(self._augment.draw(seed=self._plan.seed, epoch=epoch, num_images=total), self._device)
        return _Epoch(to_device(order, self._device), draws)

    def _assemble(self, index: torch.Tensor, draws: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        if self._augment is None or draws is None:
            pixels, inside = self._images[index], None
        else:
            pixels, inside = self._augment.apply(self._images, index, draws)
        return self._normalise(pixels, inside), self._labels[index]
