"""Batches of images that stay encoded: separate processes read and decode them shortly before they are used."""

# n images of the set, B images of this rank's shard, S height and width, C channels

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from multinas_ray.data.batch_plan import BatchPlan
from multinas_ray.data.decoding import huge_note
from multinas_ray.data.decoding_processes import DecodingProcesses
from multinas_ray.data.order import batches_per_epoch, epoch_order
from multinas_ray.data.streamed_images import CHANNELS, Decoded, Request, ResizedCrop, StreamedImages
from multinas_ray.errors import ConfigError, DataError
from multinas_ray.settings import checked_arguments

logger = logging.getLogger(__name__)


class ImageStream:
    """An endless, shuffled stream of batches like `BatchStream`, over images that stay encoded.

    Epoch e is ordered by `order.epoch_order` with `default_rng((seed, e))`; its incomplete last batch is dropped.
    `batch` decodes ahead in order; asking for a batch other than the next makes the decoding start anew there.
    `batches` decodes what is asked for and nothing else. The result does not depend on the number of processes, and the
    shards of all ranks, joined, are the global batch.

    Args:
        images: The images.
        plan: The batches.
        augment: Random variation, or None.
        decoding: Processes that streams of several sets share, one after the other; None: processes of its own.

    Raises:
        DataError: The set has fewer images than a batch, or mean and std do not match its channels.
        ConfigError: The processes are not for these images and this variation.
    """

    @checked_arguments
    def __init__(
        self,
        images: StreamedImages,
        plan: BatchPlan,
        augment: ResizedCrop | None,
        decoding: DecodingProcesses | None = None,
    ) -> None:
        plan.check(images)
        self.batch_size, self.shard_size = plan.batch_size, plan.shard_size
        self._plan, self._images, self._device = plan, images, torch.device(plan.device)
        if decoding is None:
            decoding = DecodingProcesses([images], augment=augment, seed=plan.seed, device=self._device)
        elif decoding.augment != augment or not any(each is images for each in decoding.sets):
            raise ConfigError("decoding processes must be made for these images and this variation: make others")
        self._decoding = decoding
        place = next(number for number, each in enumerate(decoding.sets) if each is images)
        self._shards = _Shards(images, plan, place)
        self.batches_per_epoch = self._shards.batches_per_epoch
        self._normalise = plan.normalisation(CHANNELS)
        self._running: Iterator[Decoded] = iter(())
        self._pass, self._next_step = -1, 0
        self._damaged: dict[int, str] = {}
        self._huge_told = False

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return this rank's shard of the global batch of a step.

        Args:
            step: Number of the batch, from 0, counted over all epochs.

        Returns:
            (B, C, S, S) float32 normalised images and (B,) int64 labels, on the device.

        Raises:
            DataError: An image cannot be decoded and the images are strict, or no image of its class can be decoded.
        """
        if self._pass != self._decoding.passes or step != self._next_step:
            self._running = self._decoding.start(self._shards.requests_from(step))
            self._pass = self._decoding.passes
        self._next_step = step + 1
        return self._finish(next(self._running))

    def batches(self, steps: range) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of steps that follow each other, and decode no others. Take all before another is asked.

        Raises:
            StateError: Another batch was asked for before the last one was taken.
        """
        requests = islice(self._shards.requests_from(steps.start), len(steps))
        yield from map(self._finish, self._decoding.all_of(list(requests)))

    def all_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield every image of the set once, in the set's order, never augmented; for a final evaluation.

        With several ranks each yields its consecutive part of the set; the parts differ by at most one image.
        The last batch may be smaller than `shard_size`. Take all before another is asked.

        Raises:
            StateError: Another batch was asked for before the last one was taken.
        """
        first, stop = self._plan.part(len(self._images))
        starts = range(first, stop, self.shard_size)
        parts = (np.arange(start, min(start + self.shard_size, stop)) for start in starts)
        requests = [Request(part, None, self._shards.place) for part in parts]
        yield from map(self._finish, self._decoding.all_of(requests))

    @property
    def damaged_images(self) -> tuple[str, ...]:
        """What is wrong with each image so far that could not be decoded."""
        return tuple(self._damaged.values())

    def _finish(self, decoded: Decoded) -> tuple[torch.Tensor, torch.Tensor]:
        if decoded.failure is not None:
            raise DataError(decoded.failure)
        for number in sorted(decoded.damaged.keys() - self._damaged.keys()):
            self._damaged[number] = decoded.damaged[number]
            logger.warning(
                "%s; until then another image of its class takes its place (%d so far)",
                decoded.damaged[number],
                len(self._damaged),
            )
        if decoded.huge and not self._huge_told:
            self._huge_told = True
            logger.warning("%s. Further ones are not told", huge_note(1, decoded.huge[0]))
        pixels = decoded.pixels.to(self._device, non_blocking=True)
        return self._normalise(pixels), decoded.labels.to(self._device, non_blocking=True)


@dataclass(frozen=True, eq=False)
class _Shards:
    """The requests of a rank.

    The class is separate from the stream, since a cycle of references would keep the loader from ending its processes.
    """

    images: StreamedImages
    plan: BatchPlan
    place: int
    """Of the set among those of the processes."""

    @property
    def batches_per_epoch(self) -> int:
        """Number of whole batches in the set."""
        return batches_per_epoch(len(self.images), self.plan.batch_size, self.images.encoded.groups)

    def requests_from(self, step: int) -> Iterator[Request]:
        """This rank's shards of the global batches from `step` on, endlessly."""
        epoch, position = divmod(step, self.batches_per_epoch)
        while True:
            for shard in self._order(epoch)[position:, self.plan.shard]:
                yield Request(shard, epoch, self.place)
            epoch, position = epoch + 1, 0

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The epoch's images, (batches, images of the global batch)."""
        plan = self.plan
        if not plan.shuffle:
            count = self.batches_per_epoch
            return np.arange(count * plan.batch_size).reshape(count, plan.batch_size)
        return epoch_order(
            self.images.encoded.groups,
            len(self.images),
            batch_size=plan.batch_size,
            norm_batch_size=plan.norm_batch_size,
            rng=np.random.default_rng((plan.seed, epoch)),
        )
