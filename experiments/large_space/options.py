"""What is compared, where, and with how much."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MinLen

from experiments.large_space.methods import DEFAULTS, METHODS
from multinas_ray.settings import Flag, NonNegativeInt, OneOf, PositiveInt, checked
from multinas_ray.storage import GivenPath

EVALUATORS = ("made-up", "supernet")


@checked
@dataclass(frozen=True, kw_only=True)
class LargeSpaceOptions:
    """What is compared, and with how much."""

    evaluator: Annotated[str, OneOf(EVALUATORS)] = "made-up"
    """What tells the losses."""
    out: Annotated[GivenPath, Flag(metavar="DIR")] = "runs/large_space"
    """Folder of the results."""
    seeds: PositiveInt = 16
    """Problems that each method searches."""
    first_seed: NonNegativeInt = 0
    """Seed of the first; settings were chosen on seeds from 100."""
    methods: Annotated[tuple[Annotated[str, OneOf(METHODS)], ...], MinLen(1), Flag(metavar="NAME")] = DEFAULTS
    """Methods that are compared."""
    images_folder: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder of CIFAR-10 for the evaluator "supernet"; None: cifar10 in $MULTINAS_DATA."""
    jobs: PositiveInt | None = None
    """Searches at once; None: as many as there are cores."""
    report_only: bool = False
    """Report what is done, and search no more."""

    @property
    def all_seeds(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)
