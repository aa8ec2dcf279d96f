"""Which images a run uses and how they are divided."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from multinas_ray.errors import ConfigError
from multinas_ray.settings import NonNegativeInt, checked
from multinas_ray.storage import resolve

Source = Literal["digits", "cifar10", "folder"]


@checked
@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Names a source of images and fixes its splits; equal configs give equal splits on every machine.

    Raises:
        ConfigError: A field breaks the rule in its docstring.
    """

    source: Source = "digits"
    """`digits`: 1,797 handwritten digits, 1x8x8, inside scikit-learn. `cifar10`: 60,000 photos, 3x32x32.
    `folder`: one's own images, a folder for each class."""

    path: str | None = None
    """Folder of CIFAR-10: the root given to torchvision (it holds `cifar-10-batches-py`), or a folder with
    `train.parquet` and `test.parquet` (columns `image`: encoded JPEG or PNG, `label`: 0..9). Of `folder`:
    `train/<class>/*` beside `val/<class>/*` or `test/<class>/*`, or `<class>/*` alone (see `tree.scan_tree`).
    None for digits."""

    validation_fraction: float = 0.2
    """Share of the training images set apart for validation, above 0 and below 1. The search judges
    architectures on these images only; DARTS uses 0.5. Not used where a folder holds train, val and test."""

    split_seed: NonNegativeInt = 0
    """Seed of the validation split and of `max_train_images`, at least 0. Apart from the search's seed."""

    max_train_images: Annotated[int, Ge(2)] | None = None
    """Keep at most this many training images, the same share of each class, before the validation split;
    at least 2. None keeps all. The test images are never reduced."""

    image_size: Annotated[int, Ge(4)] | None = None
    """Height and width in pixels to scale the images down to (antialiased), at least 4. None keeps them.
    Images of a folder differ in size: the shorter side is scaled, up or down, and the middle square cut out;
    None takes the median of the shorter sides, at most 64."""

    horizontal_flip: bool = True
    """Mirror half of the training images. False where left and right differ: letters, signs, road scenes."""

    strict: bool = False
    """Stop at the first image of a folder that cannot be decoded. False names such files in the log and goes on
    without them (in memory), or with another image of the class in their place."""

    in_memory: bool = True
    """Decode all images of a folder at the start. False: read and decode them when they are needed, in processes of
    their own (RGB, random crops of random size, image_size 224 unless set): for sets that do not fit, as ImageNet.
    `path` may then also be that of `write_image_shards`, local or s3://."""

    decode_processes: NonNegativeInt | None = None
    """Processes that decode images for each stream of a worker, where they are not in memory; 0: the worker itself;
    None: the machine's cores shared by the workers on it."""

    download: bool = False
    """Let torchvision download CIFAR-10 (170 MB) into `path` if it is not there."""

    def __post_init__(self) -> None:
        """Check what belongs together before anything is read."""
        if self.source == "cifar10" and self.path is None:
            raise ConfigError("source='cifar10' needs path: the folder that holds (or is to hold) CIFAR-10")
        if self.source == "folder" and self.path is None:
            raise ConfigError("source='folder' needs path: the folder that holds a folder for each class")
        if self.path is not None:
            resolve(self.path)  # it is well formed and holds no credentials: the path is recorded
        if self.source == "folder" and self.download:
            raise ConfigError("source='folder' is on disk already: leave download=False")
        if not self.in_memory and self.source != "folder":
            raise ConfigError(f"in_memory=False needs source='folder', {self.source} is kept in memory: leave it True")
        if self.source == "digits" and (self.path is not None or self.download):
            raise ConfigError("source='digits' comes with scikit-learn: leave path=None and download=False")
        if not 0 < self.validation_fraction < 1:
            raise ConfigError(
                f"validation_fraction must lie above 0 and below 1, got {self.validation_fraction}; "
                "0.2 keeps four images in five for training"
            )
