"""A run on disk, read while it goes on or after it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
from multinas_ray.runs.schema import (
    architectures_schema,
    candidates_schema,
    distributions_schema,
    evaluations_schema,
    journal_header,
    rounds_schema,
)
from multinas_ray.runs.tables import Shape, read_parts, read_table, to_frame, value_problems
from multinas_ray.storage import read_journals

REPAIR = "`multinas-ray verify RUN --repair` rebuilds it from the evaluations"
"""The remedy for a damaged file that can be computed from others."""
NO_COPY = "restore a copy of it, since it cannot be computed again"
"""The remedy for any other damaged file."""

SELECT_ANEW = "delete it, and choose the networks again by `multinas-ray select RUN`"

_TOTALS: dict[str, tuple[type, ...]] = {
    "num_evaluations": (int,),
    "num_updates": (int,),
    "num_restarts": (int,),
    "elapsed_seconds": (int, float),
}
"""Types of the totals of a finished run."""


@dataclass(frozen=True, eq=False)
class Run:
    """What a run had recorded when it was loaded."""

    path: str
    """Where it was read from."""

    config: dict[str, Any]
    """Its configuration, as given to `write_config`."""

    evaluations: pd.DataFrame
    """One row per evaluation, in tell order (those never told first); see `evaluations_schema`. Architectures are
    tuples."""

    distributions: pd.DataFrame
    """One row per update and distribution, in this order; see `distributions_schema`."""

    rounds: pd.DataFrame
    """One row per round of a one-shot search, in their order; see `rounds_schema`. Empty for other runs."""

    architectures: pd.DataFrame
    """The final networks, from small to large; empty until they are chosen."""

    finished: dict[str, Any] | None
    """The totals written at the end of the run, or None."""

    @property
    def kind(self) -> Kind:
        """Whether it is a search of a supernet or one in a Tune pipeline."""
        kind: Kind = self.config["kind"]
        return kind

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.finished is not None

    @property
    def elapsed_seconds(self) -> float:
        """Wall time over all its sessions, as far as it is recorded."""
        tables = [table for table in (self.evaluations, self.rounds) if len(table)]
        return max((float(table["wall_time_seconds"].max()) for table in tables), default=0.0)

    @property
    def is_calibrated(self) -> bool:
        """Whether coefficients and scale are known, without which nothing was told to the distributions yet."""
        return is_calibrated(self.config)

    @property
    def num_distributions(self) -> int:
        """K; 0 while a pipeline's coefficients are not known."""
        optimizer = self.config.get("optimizer", {})
        return len(optimizer.get("coefficients") or optimizer.get("targets") or ())

    @property
    def complexity_cost(self) -> tuple[str, float] | None:
        """Column and scale of the cost that the complexity is made of (cost / scale), if the configuration names it."""
        told = self.config.get("complexity")
        if isinstance(told, dict) and told.get("name") in self.evaluations and told.get("scale"):
            return str(told["name"]), float(told["scale"])
        return None

    @property
    def complexities(self) -> npt.NDArray[np.float64]:
        """(n,) normalised complexity of each evaluation, NaN for a failed one.

        Evaluations recorded before the scale was known get raw cost / scale; NaN while it is not known.
        """
        complexities: npt.NDArray[np.float64] = self.evaluations["complexity"].to_numpy(dtype=np.float64).copy()
        if self.complexity_cost is not None:
            name, scale = self.complexity_cost
            late = np.isnan(complexities) & np.isfinite(self.evaluations["loss"].to_numpy())
            complexities[late] = self.evaluations[name].to_numpy(dtype=np.float64)[late] / scale
        return complexities


def load_run(path: storage.AnyPath) -> Run:
    """Read a run from disk or an object store, while it goes on or after it.

    The distributions are read before the evaluations, so each update that is seen has its evaluations.

    Args:
        path: `<storage_path>/<run>`, local or a URI such as `s3://bucket/folder/run`.

    Returns:
        The run; rows written after the call are not in it.

    Raises:
        StateError: There is no run, a file of it is damaged (the message names it, and what to do), or another version
            of this package wrote it.
    """
    run, problems = examine_run(path)
    if problems:
        raise StateError(problems[0])
    return run


def examine_run(path: storage.AnyPath) -> tuple[Run, list[str]]:
    """Read a run as `load_run` does, but list the values that cannot be instead of raising for them."""
    place = storage.resolve(path)
    config = load_config(place)
    reader = RecordReader(place, config)
    distributions = reader.distributions()
    evaluations = reader.evaluations()
    run = Run(
        path=str(place),
        config=config,
        evaluations=to_frame(evaluations, ["tell_order", "-id"]),
        distributions=to_frame(distributions, ["update", "distribution"]),
        rounds=to_frame(reader.rounds(), ["round"]),
        architectures=read_architectures(place, config),
        finished=reader.finished(),
    )
    return run, reader.problems


class RecordReader:
    """Reads the tables of a record one by one, and notes the values that cannot be.

    Args:
        place: The run's folder.
        config: Its configuration.
        remedy: What is said of damaged files that follow from the evaluations.
    """

    def __init__(self, place: storage.Location, config: Mapping[str, Any], remedy: str = REPAIR) -> None:
        self._place, self._config, self._remedy, self._shape = place, config, remedy, Shape(config)
        self.problems: list[str] = []
        """Of all that was read so far; each names its file and what to do."""

    def evaluations(self) -> pa.Table:
        """Read the parts, and the rows of a journal that are not in them yet.

        Raises:
            StateError: A file is damaged, or rows are missing between them.
        """
        folder = self._place.join(EVALUATIONS)
        journals = read_journals(folder)
        schema = evaluations_schema(self._config["costs"])
        table = self._folder(EVALUATIONS, schema, NO_COPY)
        newer = journals.table_from(table.num_rows, journal_header(self._config["costs"]), schema)
        if newer is None:
            return table
        self._note(journals.newest, newer, NO_COPY)
        return pa.concat_tables([table, newer])

    def distributions(self) -> pa.Table:
        """Read the distributions; raises StateError where a file is damaged."""
        return self._folder(DISTRIBUTIONS, distributions_schema(), self._remedy)

    def rounds(self) -> pa.Table:
        """Read the rounds; raises StateError where a file is damaged."""
        return self._folder(ROUNDS, rounds_schema(), self._remedy)

    def finished(self) -> dict[str, Any] | None:
        """Read the totals of a run that has come to its end; raises StateError where they are damaged."""
        file = self._place.join(FINISHED_FILE)
        if not storage.exists(file):
            return None
        totals = read_document(file, self._remedy)
        for name, kinds in _TOTALS.items():
            if name in totals and type(totals[name]) not in kinds:
                raise StateError(f"{file} has {name} {totals[name]!r}, which must be a number: {self._remedy}")
        return totals

    def raise_first(self) -> None:
        """Raise StateError for the first problem, if there is one."""
        if self.problems:
            raise StateError(self.problems[0])

    def _folder(self, name: str, schema: pa.Schema, remedy: str) -> pa.Table:
        parts = read_parts(self._place.join(name), schema, remedy)
        for file, part in parts.items():
            self._note(file, part, remedy)
        empty = schema.empty_table().replace_schema_metadata(None)
        return pa.concat_tables([empty, *(part.replace_schema_metadata(None) for part in parts.values())])

    def _note(self, file: storage.Location, table: pa.Table, remedy: str) -> None:
        self.problems += [f"{file}: {text}: {remedy}" for text in value_problems(table, self._shape)]


def read_architectures(folder: storage.AnyPath, config: Mapping[str, Any]) -> pd.DataFrame:
    """Read the chosen networks of a family; the table is empty where there are none.

    Args:
        folder: The family's.
        config: The run's configuration.

    Raises:
        StateError: The file is damaged, or another version of this package wrote it.
    """
    file = storage.resolve(folder).join(ARCHITECTURES_FILE)
    return read_table(file, architectures_schema, SELECT_ANEW, Shape(config), unique="network")


def read_candidates(folder: storage.AnyPath, config: Mapping[str, Any]) -> pd.DataFrame:
    """Read what a family was chosen among; arguments and errors as for `read_architectures`."""
    file = storage.resolve(folder).join(CANDIDATES_FILE)
    return read_table(file, candidates_schema, SELECT_ANEW, Shape(config))


def proposals_of(rows: pd.DataFrame) -> Proposals:
    """The draws of recorded evaluations (at least one), with the densities they were drawn with."""
    return Proposals(
        architectures=np.array(rows["architecture"].tolist(), dtype=np.int64),
        log_q=rows["log_q"].to_numpy(np.float64),
        sources=rows["source"].to_numpy(np.int64),
        ids=rows["id"].to_numpy(np.int64),
        drawn_at=rows["drawn_at_update"].to_numpy(np.int64),
    )


def write_finished(path: storage.AnyPath, totals: Mapping[str, Any]) -> None:
    """Mark a run as finished, after its last row is durable.

    Args:
        path: `<storage_path>/<run>`.
        totals: Plain data: `num_evaluations`, `num_updates`, `num_restarts`, and what else is worth telling.

    Raises:
        StateError: Something in it is not plain data.
        StorageError: The file system refused.
    """
    write_document(storage.resolve(path).join(FINISHED_FILE), totals)
