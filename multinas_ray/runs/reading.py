"""Reading a run from disk, during the search or after it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from multinas_ray import storage
from multinas_ray.core import Proposals
from multinas_ray.errors import StateError
from multinas_ray.runs.configuration import Kind, is_calibrated, load_config
from multinas_ray.runs.documents import read_document, write_document
from multinas_ray.runs.layout import (
    ARCHITECTURES_FILE,
    CANDIDATES_FILE,
    DISTRIBUTIONS,
    EVALUATIONS,
    FINISHED_FILE,
    ROUNDS,
)
from multinas_ray.runs.parts import PartsTable, read_parts
from multinas_ray.runs.row_columns import architectures_of
from multinas_ray.runs.schema import (
    architectures_schema,
    candidates_schema,
    distributions_schema,
    evaluations_schema,
    has_numbers,
    journal_header,
    rounds_schema,
)
from multinas_ray.runs.tables import Shape, read_table, value_problems
from multinas_ray.settings import AsGiven, checked, checked_arguments
from multinas_ray.storage import read_journals

REPAIR = "`multinas-ray verify RUN --repair` rebuilds it from the evaluations"
"""The remedy for a damaged file that can be computed from others."""
NO_COPY = "restore a copy of it, since it cannot be computed again"
"""The remedy for any other damaged file."""

EVALUATIONS_ORDER = ("tell_order", "-id")
"""How the evaluations of a run are sorted."""
SELECT_ANEW = "delete it, and choose the networks again by `multinas-ray select RUN`"

_TOTALS: dict[str, tuple[type, ...]] = {
    "num_evaluations": (int,),
    "num_updates": (int,),
    "num_restarts": (int,),
    "lost_weight_steps": (int,),
    "elapsed_seconds": (int, float),
}
"""Types of the totals of a finished run."""


@checked
@dataclass(frozen=True, eq=False)
class Run:
    """The record of a run at the moment when it was loaded.

    Texts of architectures and probabilities stay in their files until they are looked at, so that a run of millions of
    evaluations fits into the memory; they are gone where the files are.
    """

    path: str
    """Place from which it was read."""

    config: Annotated[dict[str, Any], AsGiven()]
    """Its configuration, as it was given to `write_config`."""

    evaluations: pd.DataFrame
    """One row per evaluation, in the order in which they were told to the optimiser; those that were never told come
    first. See `evaluations_schema`. Architectures are tuples."""

    distributions: pd.DataFrame
    """One row per update and distribution, in this order; see `distributions_schema`."""

    rounds: pd.DataFrame
    """One row per round of a one-shot search, in their order; see `rounds_schema`. Empty for other runs."""

    architectures: pd.DataFrame
    """The final networks, from small to large; empty until they are chosen."""

    finished: Annotated[dict[str, Any] | None, AsGiven()]
    """The totals that are written at the end of the run; None before that."""

    @property
    def kind(self) -> Kind:
        """Whether it is a one-shot search or a search in a Tune pipeline."""
        kind: Kind = self.config["kind"]
        return kind

    @property
    def is_finished(self) -> bool:
        """Whether the run has reached its end."""
        return self.finished is not None

    @property
    def elapsed_seconds(self) -> float:
        """Wall time over all its sessions, as far as it is recorded."""
        tables = [table for table in (self.evaluations, self.rounds) if len(table)]
        return max((float(table["wall_time_seconds"].max()) for table in tables), default=0.0)

    @property
    def is_calibrated(self) -> bool:
        """Whether coefficients and scale are known; before that, the distributions were told no results."""
        return is_calibrated(self.config)

    @property
    def num_distributions(self) -> int:
        """K; 0 while the coefficients of a search in a Tune pipeline are not known."""
        return num_distributions(self.config)

    @property
    def complexity_scales(self) -> dict[str, float]:
        """Column and scale of the costs whose largest quotient is the complexity; empty if they are not known."""
        told = self.config.get("complexity")
        if not isinstance(told, dict):
            return {}
        scales = told.get("scales") or {told.get("name"): told.get("scale")}
        if not all(name in self.evaluations and scale for name, scale in scales.items()):
            return {}
        return {str(name): float(scale) for name, scale in scales.items()}

    @property
    def complexity_cost(self) -> tuple[str, float] | None:
        """Column and scale of the cost whose quotient is the complexity; None if there are several or none is known."""
        scales = self.complexity_scales
        return next(iter(scales.items())) if len(scales) == 1 else None

    @property
    def raw_complexities(self) -> npt.NDArray[np.float64]:
        """(n,) largest of raw costs / scales of each evaluation; needs `complexity_scales`."""
        quotients = [
            self.evaluations[name].to_numpy(np.float64) / scale for name, scale in self.complexity_scales.items()
        ]
        largest: npt.NDArray[np.float64] = np.max(quotients, axis=0)
        return largest

    @property
    def complexities(self) -> npt.NDArray[np.float64]:
        """(n,) normalised complexity of each evaluation; NaN for a failed one.

        For evaluations that were recorded before the scale was known it is the raw cost / scale; NaN as long as the
        scale is not known.
        """
        complexities: npt.NDArray[np.float64] = self.evaluations["complexity"].to_numpy(dtype=np.float64).copy()
        if self.complexity_scales:
            late = np.isnan(complexities) & np.isfinite(self.evaluations["loss"].to_numpy())
            complexities[late] = self.raw_complexities[late]
        return complexities


def num_distributions(config: Mapping[str, Any]) -> int:
    """K by a run's configuration; 0 while the coefficients of a search in a Tune pipeline are not known."""
    optimizer = config.get("optimizer", {})
    return len(optimizer.get("coefficients") or optimizer.get("targets") or ())


@checked_arguments
def load_run(path: storage.AnyPath) -> Run:
    """Read a run from disk or an object store, during the search or after it.

    The distributions are read before the evaluations, so that the evaluations of each update are there too.

    Args:
        path: `<storage_path>/<run>`, local or a URI such as `s3://bucket/folder/run`.

    Returns:
        The run, without rows that are written after the call.

    Raises:
        StateError: There is no run, one of its files is damaged (the message names the file and the remedy), or another
            version of this package wrote it.
    """
    run, problems = examine_run(path)
    if problems:
        raise StateError(problems[0])
    return run


def examine_run(path: storage.AnyPath) -> tuple[Run, list[str]]:
    """Read a run as `load_run` does, but list impossible values instead of raising an error for them."""
    place = storage.resolve(path)
    config = load_config(place)
    reader = RecordReader(place, config)
    distributions = reader.distributions().frame(["update", "distribution"])
    run = Run(
        path=str(place),
        config=config,
        evaluations=reader.evaluations().frame(EVALUATIONS_ORDER),
        distributions=distributions,
        rounds=reader.rounds().frame(["round"]),
        architectures=read_architectures(place, config),
        finished=reader.finished(),
    )
    pa.default_memory_pool().release_unused()  # of the parts
    return run, reader.problems


class RecordReader:
    """Reads the tables of a record one by one, and notes impossible values.

    Args:
        place: The run's folder.
        config: Its configuration.
        remedy: Remedy in messages about damaged files that can be computed from the evaluations.
    """

    def __init__(self, place: storage.Location, config: Mapping[str, Any], remedy: str = REPAIR) -> None:
        self._place, self._config, self._remedy, self._shape = place, config, remedy, Shape(config)
        self.problems: list[str] = []
        """Problems in everything that was read so far; each names its file and the remedy."""

    def evaluations(self, only: Collection[str] | None = None) -> PartsTable:
        """Read the Parquet parts, and the rows of a journal that are not in them yet.

        Args:
            only: Columns of numbers that are kept, where no frame is made of them; None: all. All are checked.

        Raises:
            StateError: A file is damaged, or rows are missing between them.
        """
        schema = evaluations_schema(self._config["costs"], has_numbers=has_numbers(self._config))
        return self._journaled(EVALUATIONS, schema, self._config["costs"], NO_COPY, only)

    def distributions(self, only: Collection[str] | None = None) -> PartsTable:
        """Read the distributions, as the evaluations are read; raises StateError if a file is damaged."""
        schema = distributions_schema(has_numbers=has_numbers(self._config))
        return self._folder(DISTRIBUTIONS, schema, self._remedy, only)

    def rounds(self) -> PartsTable:
        """Read the rounds, as the evaluations are read; raises StateError if a file is damaged."""
        return self._journaled(ROUNDS, rounds_schema(), (), self._remedy)

    def finished(self) -> dict[str, Any] | None:
        """Read the totals of a run that has reached its end; raises StateError if they are damaged."""
        file = self._place.join(FINISHED_FILE)
        if not storage.exists(file):
            return None
        totals = read_document(file, self._remedy)
        for name, kinds in _TOTALS.items():
            if name in totals and type(totals[name]) not in kinds:
                raise StateError(f"{name} in {file} must be a number, got {totals[name]!r}: {self._remedy}")
        return totals

    def raise_first(self) -> None:
        """Raise StateError for the first problem, if there is one."""
        if self.problems:
            raise StateError(self.problems[0])

    def _journaled(
        self, name: str, schema: pa.Schema, costs: Sequence[str], remedy: str, only: Collection[str] | None = None
    ) -> PartsTable:
        journals = read_journals(self._place.join(name))
        table = self._folder(name, schema, remedy, only)
        newer = journals.table_from(table.num_rows, journal_header(costs), schema)
        if newer is not None:
            self._note(journals.newest, newer, remedy)
            table.add_last(newer)
        return table

    def _folder(self, name: str, schema: pa.Schema, remedy: str, only: Collection[str] | None) -> PartsTable:
        def look(file: storage.Location, part: pa.Table) -> None:
            self._note(file, part, remedy)

        return read_parts(self._place.join(name), schema, remedy, look, only)

    def _note(self, file: storage.Location, table: pa.Table, remedy: str) -> None:
        self.problems += [f"{file}: {text}: {remedy}" for text in value_problems(table, self._shape)]


@checked_arguments
def read_architectures(folder: storage.AnyPath, config: Mapping[str, Any]) -> pd.DataFrame:
    """Read the chosen networks of a family; the table is empty if there are none.

    Args:
        folder: The family's folder.
        config: The run's configuration.

    Raises:
        StateError: The file is damaged, or another version of this package wrote it.
    """
    file = storage.resolve(folder).join(ARCHITECTURES_FILE)
    return read_table(file, architectures_schema, SELECT_ANEW, Shape(config), unique="network")


@checked_arguments
def read_candidates(folder: storage.AnyPath, config: Mapping[str, Any]) -> pd.DataFrame:
    """Read the candidates from which a family was chosen; arguments and errors as for `read_architectures`."""
    file = storage.resolve(folder).join(CANDIDATES_FILE)
    return read_table(file, candidates_schema, SELECT_ANEW, Shape(config))


@checked_arguments
def proposals_of(rows: pd.DataFrame) -> Proposals:
    """The draws of recorded evaluations (at least one), with the densities at their draws."""
    return Proposals(
        architectures=architectures_of(rows["architecture"]),
        log_q=rows["log_q"].to_numpy(np.float64),
        sources=rows["source"].to_numpy(np.int64),
        ids=rows["id"].to_numpy(np.int64),
        drawn_at=rows["drawn_at_update"].to_numpy(np.int64),
    )


@checked_arguments
def write_finished(path: storage.AnyPath, totals: Mapping[str, Any]) -> None:
    """Mark a run as finished, after its last row is durable.

    Args:
        path: `<storage_path>/<run>`.
        totals: Plain data: `num_evaluations`, `num_updates`, `num_restarts`, and any further totals.

    Raises:
        StateError: Something in it is not plain data.
        StorageError: The file system refused.
    """
    write_document(storage.resolve(path).join(FINISHED_FILE), totals)
