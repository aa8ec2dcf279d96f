"""What is compared, where, and with how much."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from annotated_types import MinLen

from experiments.compare.methods import methods_of
from experiments.compare.settings import Settings
from multinas_ray.settings import Flag, NonNegativeInt, OneOf, PositiveInt, checked
from multinas_ray.storage import GivenPath

METHODS = tuple(methods_of(Settings().num_targets))
DEFAULT_METHODS = tuple(name for name in METHODS if not name.startswith("full"))


@checked
@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """What is compared, where, and with how much."""

    data: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder with nasbench_macro.parquet; None: $MULTINAS_DATA."""
    images_folder: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder of CIFAR-10, torchvision's or train.parquet and test.parquet; None: cifar10 in the folder of the table."""
    out: Annotated[GivenPath, Flag(metavar="DIR")] = "runs/compare"
    """Folder of the results."""
    seeds: PositiveInt = 3
    """Repetitions, of seeds that follow each other."""
    first_seed: NonNegativeInt = 0
    """Seed of the first repetition. Settings are chosen on seeds from 100 on, which are not reported."""
    methods: Annotated[tuple[Annotated[str, OneOf(METHODS)], ...], MinLen(1), Flag(metavar="NAME")] = DEFAULT_METHODS
    """Methods that are compared."""
    jobs: PositiveInt | None = None
    """Pieces of work at a time; None: as many as there are cores."""
    beside: Annotated[tuple[GivenPath, ...], Flag(metavar="DIR")] = ()
    """Results of other budgets, which the picture of the costs shows too."""
    report_only: bool = False
    """Report what is done, and do no more."""
    comparison: Settings = field(default_factory=Settings)
    """What decides the results."""

    @property
    def all_seeds(self) -> range:
        """The seed of each repetition."""
        return range(self.first_seed, self.first_seed + self.seeds)

    @property
    def folder(self) -> Path:
        """Of the results."""
        return Path(self.out)
