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
from multinas_ray.runs.layout import ARCHITECTURES_FILE, CONFIG_FILE, DISTRIBUTIONS, EVALUATIONS, FINISHED_FILE, ROUNDS
from multinas_ray.runs.schema import (
    SCHEMA_VERSION,
    VERSION_KEY,
    architectures_schema,
    distributions_schema,
    evaluations_schema,
    rounds_schema,
    schema_of_journal,
)
from multinas_ray.storage import read_journals

_TUPLE_COLUMNS = ("architecture", "mode")


@dataclass(frozen=True, eq=False)
class Run:
    """What a run had recorded when it was loaded."""

    path: str
    """Where it was read from."""

    config: dict[str, Any]
    """Its configuration, as given to `write_config`."""

    evaluations: pd.DataFrame
    """One row per evaluated subnet, in tell order (those never told first); see `evaluations_schema` and
    `tune_evaluations_schema`. Architectures are tuples."""

    distributions: pd.DataFrame
    """One row per update and distribution, in this order; see `distributions_schema`."""

    rounds: pd.DataFrame
    """One row per round of a supernet run, in their order; see `rounds_schema`. Empty for other runs."""

    architectures: pd.DataFrame
    """The final networks, from small to large; empty until they are chosen."""

    finished: dict[str, Any] | None
    """The totals written at the end of the run, or None."""

    @property
    def is_finished(self) -> bool:
        """Whether the run came to its end."""
        return self.finished is not None

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
        StateError: There is no run, it is damaged, or another version of this package wrote it.
    """
    place = storage.resolve(path)
    config = _read_config(place)
    finished = None
    if storage.exists(place.join(FINISHED_FILE)):
        finished = _read_json(place.join(FINISHED_FILE))
    distributions = _read_folder(place.join(DISTRIBUTIONS), distributions_schema())
    evaluations = _read_evaluations(place.join(EVALUATIONS))
    rounds = _read_folder(place.join(ROUNDS), rounds_schema())
    return Run(
        path=str(place),
        config=config,
        evaluations=_to_frame(evaluations, ["tell_order", "-id"]),
        distributions=_to_frame(distributions, ["update", "distribution"]),
        rounds=_to_frame(rounds, ["round"]),
        architectures=read_table(place.join(ARCHITECTURES_FILE), architectures_schema(())),
        finished=finished,
    )


def read_table(file: storage.Location, empty: pa.Schema) -> pd.DataFrame:
    """Read a table of one file, such as the chosen architectures; architectures become tuples.

    Args:
        file: The file.
        empty: Columns of the table that stands for a file that is not there.

    Raises:
        StateError: It is damaged, or another version of this package wrote it.
    """
    return _to_frame(_read_part(file) if storage.exists(file) else empty.empty_table(), [])


def load_config(path: storage.AnyPath) -> dict[str, Any]:
    """Read a run's configuration alone; arguments and errors as for `load_run`."""
    return _read_config(storage.resolve(path))


def proposals_of(rows: pd.DataFrame) -> Proposals:
    """The draws of recorded evaluations (at least one), with the densities they were drawn with."""
    return Proposals(
        architectures=np.array(rows["architecture"].tolist(), dtype=np.int64),
        log_q=rows["log_q"].to_numpy(np.float64),
        sources=rows["source"].to_numpy(np.int64),
        ids=rows["id"].to_numpy(np.int64),
        drawn_at=rows["drawn_at_update"].to_numpy(np.int64),
    )


def write_config(path: storage.AnyPath, config: Mapping[str, Any]) -> None:
    """Write a run's configuration, once, before anything else; it creates the folder.

    Args:
        path: `<storage_path>/<run>`.
        config: Plain data (see `storage.encode_plain`). The section `optimizer` holds the keyword arguments of
            `MultiDistributionOptimizer` (`verify_run` needs it), `num_evaluations` the planned total, and
            `complexity` the cost that is the complexity: {"name": its column, "scale": what it is divided by}.

    Raises:
        StateError: Something in it is not plain data, or it has a key `schema_version`.
    """
    if "schema_version" in config:
        raise StateError("the key 'schema_version' of the configuration is written by this package: remove it")
    place = storage.resolve(path)
    storage.make_folder(place)
    storage.write_plain(place.join(CONFIG_FILE), {"schema_version": SCHEMA_VERSION, **config}, indent=2)


def write_finished(path: storage.AnyPath, totals: Mapping[str, Any]) -> None:
    """Mark a run as finished, after its last row is durable.

    Args:
        path: `<storage_path>/<run>`.
        totals: Plain data: `num_evaluations`, `num_updates`, `num_restarts`, and what else is worth telling.

    Raises:
        StateError: Something in it is not plain data.
    """
    storage.write_plain(storage.resolve(path).join(FINISHED_FILE), totals, indent=2)


def _read_config(place: storage.Location) -> dict[str, Any]:
    if not storage.exists(place):
        raise StateError(f"there is no run at {place}: give the folder <storage_path>/<run>")
    if not storage.exists(place.join(CONFIG_FILE)):
        raise StateError(f"{place} is not a run, it has no {CONFIG_FILE}: give the folder <storage_path>/<run> itself")
    config = _read_json(place.join(CONFIG_FILE))
    _check_version(config.pop("schema_version", None), place.join(CONFIG_FILE))
    return config


def _read_json(place: storage.Location) -> dict[str, Any]:
    content = storage.read_plain(place)
    if not isinstance(content, dict):
        raise StateError(f"{place} holds a {type(content).__name__}, not an object: restore a copy")
    return content


def _check_version(version: object, place: storage.Location) -> None:
    if version != SCHEMA_VERSION:
        raise StateError(
            f"{place} has schema version {version}, this package reads version {SCHEMA_VERSION}: "
            "use the version of multinas-ray that wrote it"
        )


def _read_evaluations(folder: storage.Location) -> pa.Table:
    """Read the parts, and the rows of a journal that are not in them yet."""
    journals = read_journals(folder)
    table = _read_folder(folder, evaluations_schema(()))
    newer = journals.table_from(table.num_rows, schema_of_journal)
    if newer is None:
        return table
    return pa.concat_tables([table, newer]) if table.num_rows else newer


def _read_folder(folder: storage.Location, empty: pa.Schema) -> pa.Table:
    parts = [_read_part(folder.join(name)) for name in storage.list_files(folder, ".parquet")]
    if not parts:
        return empty.empty_table()
    for part in parts[1:]:
        different = set(parts[0].schema) ^ set(part.schema)
        if different:
            names = ", ".join(sorted({field.name for field in different}))
            raise StateError(f"the files in {folder} differ in the columns {names}: they are of two runs, part them")
    return pa.concat_tables(parts)


def _read_part(file: storage.Location) -> pa.Table:
    table = storage.read_parquet(file)
    metadata = table.schema.metadata or {}
    version = metadata.get(VERSION_KEY.encode(), b"none")
    _check_version(int(version) if version.isdigit() else version.decode(), file)
    return table.replace_schema_metadata(None)


def _to_frame(table: pa.Table, order: list[str]) -> pd.DataFrame:
    if order:
        keys = [(name.lstrip("-"), "descending" if name.startswith("-") else "ascending") for name in order]
        table = table.sort_by(keys)
    frame: pd.DataFrame = table.to_pandas()
    for name in _TUPLE_COLUMNS:
        if name in frame:
            frame[name] = pd.Series([tuple(row) for row in table[name].to_pylist()], dtype=object)
    return frame
