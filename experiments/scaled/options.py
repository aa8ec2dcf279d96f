"""What is compared, and by which recipe."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from annotated_types import MinLen

from multinas_ray.settings import Flag, NonNegativeInt, OneOf, PositiveFloat, PositiveInt, checked
from multinas_ray.storage import GivenPath

METHODS = {
    "searched": "Found by one search",
    "scaled": "MobileNetV2, scaled in width",
    "untrained": "By figures of untrained networks",
}
"""What chooses a network within each limit: one search; MobileNetV2's own plan; the prior alone."""


@checked
@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How every network is trained. The defaults suit few epochs on a CPU."""

    epochs: PositiveInt = 5
    """Passes over all training images."""
    batch_size: PositiveInt = 128
    """Images of a step."""
    learning_rate: PositiveFloat = 0.2
    """Peak of the learning rate for this batch."""
    weight_decay: PositiveFloat = 5e-4
    """L2 penalty."""
    images: PositiveInt | None = None
    """Training images; None: all."""


@checked
@dataclass(frozen=True, kw_only=True)
class ScaledOptions:
    """What is compared, and with how much."""

    run: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder of the run whose networks are compared; None: those of an earlier command with the same --out."""
    images_folder: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder of CIFAR-10, torchvision's or train.parquet and test.parquet; None: cifar10 in $MULTINAS_DATA."""
    out: Annotated[GivenPath, Flag(metavar="DIR")] = "runs/scaled"
    """Folder of the results."""
    methods: Annotated[tuple[Annotated[str, OneOf(tuple(METHODS))], ...], MinLen(1), Flag(metavar="NAME")] = tuple(
        METHODS
    )
    """What chooses the networks."""
    seeds: PositiveInt = 3
    """Trainings of each network."""
    first_seed: NonNegativeInt = 0
    """Seed of the first; settings were chosen on seeds from 100."""
    jobs: PositiveInt | None = None
    """Trainings at once; None: as many as there are cores, and 1 on a GPU."""
    use_gpu: bool = False
    """Whether to train on a GPU."""
    report_only: bool = False
    """Report what is done, and train no more."""
    recipe: Recipe = field(default_factory=Recipe)
    """How every network is trained."""

    @property
    def folder(self) -> Path:
        """Of the results."""
        return Path(self.out)

    @property
    def all_seeds(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)
