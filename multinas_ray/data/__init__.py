"""Images for a search: sources, fixed splits, and batches that are a pure function of the step."""

from multinas_ray.data.augmentation import Augmentation, Variation, standard_augmentation
from multinas_ray.data.config import DataConfig
from multinas_ray.data.decoder import ResizedCrop, StreamedImages
from multinas_ray.data.folder import FolderFacts, inspect_folder
from multinas_ray.data.images import DataSplits, Images, ImageSet
from multinas_ray.data.loading import load_splits
from multinas_ray.data.opening import Batches, open_stream
from multinas_ray.data.shards import write_image_shards
from multinas_ray.data.stream import BatchStream
from multinas_ray.data.streamed import ImageStream

__all__ = [
    "Augmentation",
    "BatchStream",
    "Batches",
    "DataConfig",
    "DataSplits",
    "FolderFacts",
    "ImageSet",
    "ImageStream",
    "Images",
    "ResizedCrop",
    "StreamedImages",
    "Variation",
    "inspect_folder",
    "load_splits",
    "open_stream",
    "standard_augmentation",
    "write_image_shards",
]
