"""Batches of images that stay encoded: separate processes read and decode them shortly before they are used."""

# n images of the set, B images of this rank's shard, S height and width, C channels

import logging
import multiprocessing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from multinas_ray.data.batch_plan import BatchPlan
from multinas_ray.data.config import PREFETCHED_BATCHES
from multinas_ray.data.decoding import huge_note
from multinas_ray.data.machine import usable_cores
from multinas_ray.data.order import batches_per_epoch, epoch_order
from multinas_ray.data.streamed_images import CHANNELS, Decoded, ImageDecoder, Request, ResizedCrop, StreamedImages
from multinas_ray.data.warnings_left_out import leave_out_warnings
from multinas_ray.errors import DataError
from multinas_ray.settings import checked_arguments

logger = logging.getLogger(__name__)


class ImageStream:
    """An endless, shuffled stream of batches like `BatchStream`, over images that stay encoded.

    Epoch e is ordered by `order.epoch_order` with `default_rng((seed, e))`; its incomplete last batch is dropped.
    Batches are decoded ahead in order; asking for a batch other than the next makes the decoding start anew there. The
    result does not depend on the number of processes, and the shards of all ranks, joined, are the global batch.

    Args:
        images: The images.
        plan: The batches.
        augment: Random variation, or None.

    Raises:
        DataError: The set has fewer images than a batch, or mean and std do not match its channels.
    """

    @checked_arguments
    def __init__(self, images: StreamedImages, plan: BatchPlan, augment: ResizedCrop | None) -> None:
        plan.check(images)
        self.batch_size, self.shard_size = plan.batch_size, plan.shard_size
        self._shards = _Shards(images, plan)
        self.batches_per_epoch = self._shards.batches_per_epoch
        self._plan, self._images, self._device = plan, images, torch.device(plan.device)
        self._normalise = plan.normalisation(CHANNELS)
        self._requests = _Requests()
        self._loader = _loader(ImageDecoder(images, augment, plan.seed), self._requests, images, self._device)
        self._running: Iterator[Decoded] | None = None
        self._next_step = 0
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
        if self._running is None or step != self._next_step:
            self._running = self._start(self._shards.requests_from(step))
        self._next_step = step + 1
        return self._finish(next(self._running))

    def all_batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield every image of the set once, in the set's order, never augmented; for a final evaluation.

        With several ranks each yields its consecutive part of the set; the parts differ by at most one image.
        The last batch may be smaller than `shard_size`. Do not call `batch` before the last one was taken.
        """
        first, stop = self._plan.part(len(self._images))
        starts = range(first, stop, self.shard_size)
        parts = (np.arange(start, min(start + self.shard_size, stop)) for start in starts)
        self._running = None
        for decoded in self._start(Request(part, None) for part in parts):
            yield self._finish(decoded)

    @property
    def damaged_images(self) -> tuple[str, ...]:
        """What is wrong with each image so far that could not be decoded."""
        return tuple(self._damaged.values())

    def _start(self, requests: Iterator[Request]) -> Iterator[Decoded]:
        self._requests.waiting = requests
        leave_out_warnings()
        return iter(self._loader)

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

    @property
    def batches_per_epoch(self) -> int:
        """Number of whole batches in the set."""
        return batches_per_epoch(len(self.images), self.plan.batch_size, self.images.encoded.groups)

    def requests_from(self, step: int) -> Iterator[Request]:
        """This rank's shards of the global batches from `step` on, endlessly."""
        epoch, position = divmod(step, self.batches_per_epoch)
        while True:
            for shard in self._order(epoch)[position:, self.plan.shard]:
                yield Request(shard, epoch)
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


class _Requests(Iterable[Request]):
    """Gives the loader the requests to be decoded; it asks anew for each pass."""

    def __init__(self) -> None:
        self.waiting: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.waiting


def _loader(
    decoder: ImageDecoder, requests: _Requests, images: StreamedImages, device: torch.device
) -> DataLoader[Decoded]:
    """A loader whose processes live as long as it does; they do not inherit this process's threads and connections."""
    num_processes = images.num_processes
    if num_processes is None:
        num_processes = usable_cores()
    elif num_processes > usable_cores():
        logger.warning(
            "decode_processes=%d is more than the %d core(s) that this process may use, which slows decoding down: "
            "leave it out for one on each core",
            num_processes,
            usable_cores(),
        )
    options: dict[str, Any] = {}
    if num_processes > 0:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([ImageDecoder.__module__])
        options = {
            "multiprocessing_context": context,
            "persistent_workers": True,
            "prefetch_factor": PREFETCHED_BATCHES,
        }
    leave_out_warnings()
    return DataLoader(
        decoder,
        batch_size=None,
        sampler=requests,
        num_workers=num_processes,
        collate_fn=_as_it_is,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # without it the loader would draw from the global one
        **options,
    )


def _as_it_is(decoded: Any) -> Any:
    return decoded
