"""Images for a search: sources, fixed splits, and batches that are a pure function of the step."""

from multinas_ray.data.augmentation import Augmentation, standard_augmentation
from multinas_ray.data.config import DataConfig
from multinas_ray.data.folder import FolderFacts, inspect_folder
from multinas_ray.data.images import DataSplits, ImageSet
from multinas_ray.data.loading import load_splits
from multinas_ray.data.stream import BatchStream

__all__ = [
    "Augmentation",
    "BatchStream",
    "DataConfig",
    "DataSplits",
    "FolderFacts",
    "ImageSet",
    "inspect_folder",
    "load_splits",
    "standard_augmentation",
]
