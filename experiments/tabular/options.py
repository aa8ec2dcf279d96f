"""What is compared, where, and with how much."""

from dataclasses import dataclass, replace
from typing import Annotated

from annotated_types import MinLen

from experiments.parts.tables import SOURCES
from experiments.tabular.methods import METHODS
from multinas_ray.errors import ConfigError
from multinas_ray.settings import Flag, OneOf, PositiveInt, checked
from multinas_ray.storage import GivenPath

TUNE_TRIALS = 400
"""Largest number of trials of a search through Ray Tune. Each takes tens of milliseconds, later ones longer."""
TUNE_METHODS = ("multinas", "multinas-reuse", "multinas-screened", "optuna-nsga2", "optuna-tpe", "random")


@checked
@dataclass(frozen=True, kw_only=True)
class TabularOptions:
    """What is compared, where, and with how much."""

    data: Annotated[GivenPath | None, Flag(metavar="DIR")] = None
    """Folder with the tables' Parquet files; None: $MULTINAS_DATA."""
    out: Annotated[GivenPath, Flag(metavar="DIR")] = "runs/tabular"
    """Folder of the results."""
    seeds: PositiveInt = 11
    """Searches of each kind."""
    evaluations: PositiveInt = 2000
    """Distinct architectures that a search may evaluate."""
    methods: Annotated[tuple[Annotated[str, OneOf(METHODS)], ...], MinLen(1), Flag(metavar="NAME")] = tuple(METHODS)
    """Methods that are compared."""
    tables: Annotated[tuple[Annotated[str, OneOf(SOURCES)], ...], MinLen(1), Flag(metavar="NAME")] = tuple(SOURCES)
    """Tables that are searched."""
    jobs: PositiveInt | None = None
    """Searches at once; None: as many as there are cores."""
    tune: bool = False
    """Make one search of each kind through Ray Tune, with 400 trials or fewer each."""

    def effective(self) -> "TabularOptions":
        """The options with those of --tune in place.

        Raises:
            ConfigError: None of the methods can run through Ray Tune.
        """
        if not self.tune:
            return self
        methods = tuple(name for name in self.methods if name in TUNE_METHODS)
        if not methods:
            raise ConfigError(f"--tune takes these methods: {', '.join(TUNE_METHODS)}")
        return replace(self, seeds=1, evaluations=min(self.evaluations, TUNE_TRIALS), methods=methods)
