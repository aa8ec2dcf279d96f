from .augmentation import Augmentation, Variation, standard_augmentation
from .batch_stream import BatchStream
from .batches import Batches, open_stream
from .config import DataConfig
from .decoding import read_square
from .folder import IMAGENET_MEAN, IMAGENET_STD, FolderFacts, inspect_folder
from .image_stream import ImageStream
from .images import DataSplits, Images, ImageSet
from .loading import load_splits
from .shards import scan_images, write_image_shards
from .streamed_images import ResizedCrop, StreamedImages, evaluation_transform

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
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
    "evaluation_transform",
    "inspect_folder",
    "load_splits",
    "open_stream",
    "read_square",
    "scan_images",
    "standard_augmentation",
    "write_image_shards",
]
