"""The processes that decode images for one or several streams, and the decoded images that are kept."""

# n images of a set, B images of a batch, S height and width, C channels

import logging
import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from multinas_ray.data.config import PREFETCHED_BATCHES
from multinas_ray.data.machine import usable_cores
from multinas_ray.data.streamed_images import Decoded, ImageDecoder, Request, ResizedCrop, StreamedImages
from multinas_ray.data.warnings_left_out import leave_out_warnings
from multinas_ray.errors import ConfigError, StateError
from multinas_ray.settings import NonNegativeInt, checked_arguments

logger = logging.getLogger(__name__)


class DecodingProcesses:
    """Decodes batches of one or several sets of images.

    Its processes live as long as it does. Streams of the sets use it one after the other: where one begins a pass, that
    of another is at an end.

    Args:
        sets: Sets of images of one size, which are read with the settings of the first.
        augment: Random variation, or None.
        seed: Seed of the variation.
        device: To which the batches go.
        kept_bytes: Decoded images are kept up to so many bytes, those that are decoded first, and are not decoded
            again. Images with variation are not kept.

    Raises:
        ConfigError: There is no set, or sets differ in the size of their images.
    """

    @checked_arguments
    def __init__(
        self,
        sets: Sequence[StreamedImages],
        *,
        augment: ResizedCrop | None,
        seed: int,
        device: torch.device,
        kept_bytes: NonNegativeInt = 0,
    ) -> None:
        if len(sizes := {each.image_size for each in sets}) != 1:
            raise ConfigError(f"sets that share decoding processes must have images of one size, got {sorted(sizes)}")
        self.sets, self.augment = tuple(sets), augment
        self.passes = 0
        """How many passes have begun; the last of them is the only one that goes on."""
        self._requests, self._left_bytes = _Requests(), kept_bytes
        self._kept: dict[tuple[int, int], npt.NDArray[np.uint8]] = {}
        decoder = ImageDecoder(self.sets, augment, seed)
        self._loader = _loader(decoder, self._requests, self.sets[0].num_processes, device)

    def start(self, requests: Iterator[Request]) -> Iterator[Decoded]:
        """Begin a pass, in which requests are decoded ahead; where it is left early, some are decoded in vain."""
        self.passes += 1
        self._requests.waiting = requests
        leave_out_warnings()
        return iter(self._loader)

    def all_of(self, requests: Sequence[Request]) -> Iterator[Decoded]:
        """Decode these requests and no others, except for the images that are kept.

        Raises:
            StateError: Another pass has begun before the end of this one.
        """
        rest = [self._missing(request) for request in requests]
        decoding = self.start(iter([each for each in rest if len(each.numbers)]))
        own = self.passes
        for request, missing in zip(requests, rest, strict=True):
            if own != self.passes:
                raise StateError("a pass over images must end before the next begins: take all batches of one first")
            decoded = next(decoding) if len(missing.numbers) else None
            yield self._joined(request, missing, decoded)

    def _missing(self, request: Request) -> Request:
        """The part of a request that must be decoded."""
        if self._varies(request):
            return request
        numbers = [each for each in request.numbers.tolist() if (request.place, each) not in self._kept]
        return request._replace(numbers=np.array(numbers, dtype=np.int64))

    def _joined(self, request: Request, missing: Request, decoded: Decoded | None) -> Decoded:
        """What was decoded, with the kept images."""
        if decoded is not None:
            if decoded.failure is not None:
                return decoded
            if not self._varies(request):
                self._keep(missing, decoded.pixels.numpy())
            if len(missing.numbers) == len(request.numbers):
                return decoded
        else:
            decoded = Decoded(torch.empty(0), torch.empty(0), {}, None)
        images = dict(zip(missing.numbers.tolist(), decoded.pixels.numpy(), strict=True))
        numbers = request.numbers.tolist()
        pixels = np.stack([images[n] if n in images else self._kept[request.place, n] for n in numbers])
        labels = torch.from_numpy(self.sets[request.place].labels[request.numbers])
        return decoded._replace(pixels=torch.from_numpy(pixels), labels=labels)

    def _keep(self, request: Request, pixels: npt.NDArray[np.uint8]) -> None:
        for number, image in zip(request.numbers.tolist(), pixels, strict=True):
            if (request.place, number) not in self._kept and image.nbytes <= self._left_bytes:
                self._kept[request.place, number] = image.copy()  # the batch is in memory shared with a process
                self._left_bytes -= image.nbytes

    def _varies(self, request: Request) -> bool:
        return self.augment is not None and request.epoch is not None


class _Requests(Iterable[Request]):
    """Gives the loader the requests to be decoded; it asks anew for each pass."""

    def __init__(self) -> None:
        self.waiting: Iterator[Request] = iter(())

    def __iter__(self) -> Iterator[Request]:
        return self.waiting


def _loader(
    decoder: ImageDecoder, requests: _Requests, num_processes: int | None, device: torch.device
) -> DataLoader[Decoded]:
    """A loader whose processes live as long as it does; they do not inherit this process's threads and connections."""
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
