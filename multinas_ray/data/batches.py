"""The interface of streams, and the choice of the stream for images in memory, encoded images or other samples."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch

from multinas_ray.data.augmentation import Augmentation, Variation
from multinas_ray.data.batch_plan import BatchPlan
from multinas_ray.data.batch_stream import BatchStream
from multinas_ray.data.decoding_processes import DecodingProcesses
from multinas_ray.data.image_stream import ImageStream
from multinas_ray.data.images import DataSplits, Images, ImageSet
from multinas_ray.data.samples import SampleSet, SampleStream
from multinas_ray.data.streamed_images import ResizedCrop, StreamedImages
from multinas_ray.errors import ConfigError


@runtime_checkable
class Batches(Protocol):
    """An endless stream of batches, see `BatchStream`."""

    batch_size: int
    """Images of the global batch."""
    shard_size: int
    """Images of this rank's shard of it."""
    batches_per_epoch: int
    """Number of whole batches in the set."""

    def batch(self, step: int) -> tuple[Any, Any]:
        """Inputs and targets of this rank at a step, on the device: images (B, C, H, W) and labels (B,), or others."""

    def batches(self, steps: range) -> Iterator[tuple[Any, Any]]:
        """The batches of steps that follow each other; no other image is decoded. Take all before another is asked."""

    def all_batches(self) -> Iterator[tuple[Any, Any]]:
        """Every sample of this rank's part once, in order, images not augmented."""

    @property
    def damaged_images(self) -> tuple[str, ...]:
        """What is wrong with each image that another image has replaced."""


def shared_decoding(splits: DataSplits, *, device: torch.device, kept_bytes: int) -> DecodingProcesses | None:
    """Processes that the streams of all sets of a run share, one after the other, if the images stay encoded.

    Args:
        splits: The sets of `load_splits`; their images are not varied.
        device: That of the batches.
        kept_bytes: So many bytes of decoded images, at most, are kept and not decoded again.
    """
    sets = [each for each in (splits.train, splits.validation, splits.test) if isinstance(each, StreamedImages)]
    if not sets:
        return None
    return DecodingProcesses(sets, augment=None, seed=0, device=device, kept_bytes=kept_bytes)


def open_stream(
    images: Images, *, augment: Variation | None, decoding: DecodingProcesses | None = None, **settings: Any
) -> Batches:
    """Open the stream that fits the images.

    Args:
        images: One of the sets of `load_splits`.
        augment: Random variation, from `standard_augmentation`, or None.
        decoding: What decodes images that stay encoded, from `shared_decoding`; None: processes of the stream's own.
        settings: The fields of `BatchPlan`.

    Raises:
        ConfigError: The variation is for the other kind of images, or settings do not fit together.
        DataError: The set has fewer images than a batch.
    """
    plan = BatchPlan(**settings)
    if isinstance(images, ImageSet) and not isinstance(augment, ResizedCrop):
        return BatchStream(images, plan, augment)
    if isinstance(images, StreamedImages) and not isinstance(augment, Augmentation):
        return ImageStream(images, plan, augment, decoding)
    if isinstance(images, SampleSet) and augment is None:
        return SampleStream(images, plan)
    raise ConfigError(
        "images in memory must be varied by Augmentation, streamed ones by ResizedCrop and other samples by their "
        f"dataset, got {type(images).__name__} with {type(augment).__name__}: use standard_augmentation(config)"
    )
