from .augmentation import Augmentation, Variation, photo_augmentation
from .batch_plan import BatchPlan
from .batch_stream import BatchStream
from .batches import Batches, open_stream, shared_decoding
from .config import PREFETCHED_BATCHES, DataConfig
from .counts_table import image_counts, image_table
from .dataset_source import register_dataset
from .decoding import read_square
from .decoding_processes import DecodingProcesses
from .encoded_source import IMAGENET_MEAN, IMAGENET_STD, EncodedSource
from .image_stream import ImageStream
from .images import DataSplits, Images, ImageSet
from .in_memory import splits_in_memory
from .left_out import LeftOut, total_by_reason
from .listing import ImageListing
from .loading import inspect_data, load_splits, standard_augmentation
from .machine import available_memory_bytes, cpu_threads, usable_cores
from .normalisation import to_device
from .samples import SampleSet
from .shards import scan_images, write_image_shards
from .sources import DataFacts, DataSource, register_source
from .streamed_images import ResizedCrop, StreamedImages, evaluation_transform
from .structures import batch_of, call, map_tensors, noise, num_samples, structure_of, tensors_of

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "PREFETCHED_BATCHES",
    "Augmentation",
    "BatchPlan",
    "BatchStream",
    "Batches",
    "DataConfig",
    "DataFacts",
    "DataSource",
    "DataSplits",
    "DecodingProcesses",
    "EncodedSource",
    "ImageListing",
    "ImageSet",
    "ImageStream",
    "Images",
    "LeftOut",
    "ResizedCrop",
    "SampleSet",
    "StreamedImages",
    "Variation",
    "available_memory_bytes",
    "batch_of",
    "call",
    "cpu_threads",
    "evaluation_transform",
    "image_counts",
    "image_table",
    "inspect_data",
    "load_splits",
    "map_tensors",
    "noise",
    "num_samples",
    "open_stream",
    "photo_augmentation",
    "read_square",
    "register_dataset",
    "register_source",
    "scan_images",
    "shared_decoding",
    "splits_in_memory",
    "standard_augmentation",
    "structure_of",
    "tensors_of",
    "to_device",
    "total_by_reason",
    "usable_cores",
    "write_image_shards",
]
