"""Rebuilding damaged files of a record from its other files: everything but the evaluations can be rebuilt.

config.json is repeated in the metadata of the run's tables. The distributions, the totals and the state of the search
are computed from the evaluations, and so are those figures of a round that the evaluations contain.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from multinas_ray import storage
from multinas_ray.errors import StateError, UnreadableError
from multinas_ray.runs.configuration import is_calibrated, load_config, make_recorded_optimizer, write_config
from multinas_ray.runs.layout import (
    DISTRIBUTIONS,
    EVALUATIONS,
    FINISHED_FILE,
    ROUNDS,
    SESSIONS,
    STATE_FILE,
)
from multinas_ray.runs.reading import EVALUATIONS_ORDER, RecordReader, Run, num_distributions, write_finished
from multinas_ray.runs.recorded_tables import DistributionTable, RoundTable
from multinas_ray.runs.replaying import check_complete, tell_recorded
from multinas_ray.runs.schema import (
    CONFIG_KEY,
    architectures_schema,
    distributions_schema,
    evaluations_schema,
    rounds_schema,
)
from multinas_ray.runs.sessions import RunSession
from multinas_ray.runs.snapshots import load_snapshot
from multinas_ray.runs.tables import Shape, read_part, to_frame, value_problems
from multinas_ray.settings import checked_arguments

REBUILT = "it was rebuilt from the evaluations"
"""Stands in a message where the remedy would be, since nothing is left to do."""


@checked_arguments
def repair_config(path: storage.AnyPath) -> str | None:
    """Rebuild a damaged or lost config.json from the metadata of the run's tables.

    Returns:
        A sentence that says what was repaired; None if there was nothing to repair.

    Raises:
        StateError: There is no run, or no table has a copy of its configuration.
    """
    try:
        load_config(path)
    except UnreadableError:
        raise
    except StateError as damage:
        config = _config_of_tables(storage.resolve(path))
        if config is None:
            raise
        write_config(path, config)
        return f"{damage}. It was rebuilt from that metadata."
    return None


@checked_arguments
def repair_damage(path: storage.AnyPath) -> list[str]:
    """Rebuild the damaged files of a run, if there are any. A driver that is still searching then stops.

    Args:
        path: `<storage_path>/<run>`, local or a URI.

    Returns:
        What was repaired, one line for each file or table.

    Raises:
        StateError: There is no run, or something is damaged that cannot be rebuilt.
        StorageError: The file system refused to read or write.
    """
    config = repair_config(path)
    repaired = [] if config is None else [config]
    repair = _Repair(path)
    if any(repair.damage_of(part) is not None for part in repair.parts):
        repaired += repair_run(RunSession.begin(path))
    return repaired


@checked_arguments
def repair_run(session: RunSession) -> list[str]:
    """Rebuild the damaged files of a record that can be computed from its evaluations.

    Args:
        session: The session that writes. Drivers that began before it no longer write.

    Returns:
        What was repaired, one line for each file or table.

    Raises:
        StateError: The configuration or the evaluations are damaged, or evaluations are missing.
        StorageError: The file system refused to read or write.
    """
    repair, repaired = _Repair(session.run_path), []
    for part in repair.parts:
        if (damage := repair.damage_of(part)) is not None:
            session.check_newest()
            repair.rebuild(part)
            repaired.append(damage)
    return repaired


class _Repair:
    """The damaged parts of one run and how to rebuild them. All evaluations must be readable."""

    def __init__(self, path: storage.AnyPath) -> None:
        self._place = storage.resolve(path)
        self._config = load_config(self._place)
        self._reader = RecordReader(self._place, self._config, REBUILT)
        self._rounds = set(self._reader.evaluations(("round",)).values("round").tolist())
        self._reader.raise_first()
        self.parts = {
            STATE_FILE: (self._check_state, self._drop_state),
            ROUNDS: (self._check_rounds, self._write_rounds),
            DISTRIBUTIONS: (self._check_distributions, self._write_distributions),
            FINISHED_FILE: (self._reader.finished, self._write_finished),
        }
        """Each file or folder that can be rebuilt, with the function that checks it and the one that rebuilds it."""

    @cached_property
    def _run(self) -> Run:
        """The evaluations, which are read where something has to be rebuilt from them."""
        return Run(
            path=str(self._place),
            config=self._config,
            evaluations=self._reader.evaluations().frame(EVALUATIONS_ORDER),
            distributions=to_frame(distributions_schema().empty_table()),
            rounds=to_frame(rounds_schema().empty_table()),
            architectures=to_frame(architectures_schema(()).empty_table()),
            finished=None,
        )

    def damage_of(self, part: str) -> str | None:
        """Describe what is wrong with a part of the record; None if nothing is."""
        try:
            self.parts[part][0]()
            self._reader.raise_first()
        except UnreadableError:
            raise
        except StateError as error:
            self._reader.problems.clear()
            return str(error)
        return None

    def rebuild(self, part: str) -> None:
        """Rebuild a part."""
        self.parts[part][1]()

    def _check_state(self) -> None:
        load_snapshot(self._place, REBUILT)

    def _drop_state(self) -> None:
        storage.delete_file(self._place.join(STATE_FILE))

    def _check_distributions(self) -> None:
        """Read the distributions; none may be missing up to the newest update."""
        found = self._reader.distributions(("update", "distribution"))
        updates, distributions = found.values("update"), found.values("distribution").astype(np.int64)
        newest, number = int(updates.max(initial=0)), num_distributions(self._config)
        keys = np.unique(updates * (int(distributions.max(initial=0)) + 1) + distributions)
        if len(keys) != len(updates) or len(updates) != newest * number or (updates < 1).any():
            raise StateError(
                f"{self._place.join(DISTRIBUTIONS)} must hold each of the {number} distributions once for each update: "
                f"{REBUILT}"
            )

    def _write_distributions(self) -> None:
        check_complete(self._run)
        _delete_parts(self._place.join(DISTRIBUTIONS))
        table = DistributionTable(self._place, self._run.config)
        if self._run.is_calibrated:
            optimizer = make_recorded_optimizer(self._run.path, self._run.config)
            tell_recorded(self._run, optimizer, table.note)
        table.flush()

    def _check_rounds(self) -> None:
        """Read the rounds; each must be there once, and none of those that the evaluations are of may be missing."""
        numbers = self._reader.rounds().values("round").tolist()
        lacking = self._rounds - set(numbers) if self._config["kind"] == "oneshot" else set()
        if lacking or len(set(numbers)) < len(numbers):
            raise StateError(
                f"{self._place.join(ROUNDS)} must hold each round of the evaluations once, {len(lacking)} are missing: "
                f"{REBUILT}"
            )

    def _write_rounds(self) -> None:
        """Keep all readable rows, and rebuild those of the other rounds from their evaluations."""
        rebuilt = [_figures_of(each) for _, each in self._run.evaluations.groupby("round")]
        rows = {each["round"]: each for each in rebuilt}
        folder = self._place.join(ROUNDS)
        for part in self._readable_rounds(folder):
            if part.num_rows and not value_problems(part, Shape(self._run.config)):
                rows |= {row["round"]: row for row in part.to_pylist()}
        _delete_parts(folder)
        storage.delete_folder(folder.join(storage.JOURNAL_FOLDER))
        table = RoundTable(self._place, self._run.config)
        for number in sorted(rows):
            table.append(rows[number])
        table.flush()

    @staticmethod
    def _readable_rounds(folder: storage.Location) -> Iterator[pa.Table]:
        for name in storage.list_files(folder, ".parquet"):
            try:
                yield read_part(folder.join(name), lambda _: rounds_schema(), REBUILT)
            except UnreadableError:
                raise
            except StateError:
                continue
        yield storage.salvaged_rows(folder, rounds_schema())

    def _write_finished(self) -> None:
        sessions = storage.list_files(self._place.join(SESSIONS), ".json")
        samples = int(self._run.config["optimizer"]["samples_per_update"])
        num_told = int((self._run.evaluations["tell_order"] >= 0).sum())
        totals = {
            "num_evaluations": len(self._run.evaluations),
            "num_updates": num_told // samples,
            "num_restarts": max(0, len(sessions) - 2),  # the first start and this one do not count
            "elapsed_seconds": self._run.elapsed_seconds,
        }
        write_finished(self._place, totals)


def _figures_of(rows: pd.DataFrame) -> dict[str, Any]:
    """The figures of a round that its evaluations contain; the others stay empty."""
    first = rows.iloc[0].to_dict()
    unknown = dict.fromkeys(("train_loss", "compute_seconds", "reduced_bytes", "saved_bytes"))
    return {
        **{name: int(first[name]) for name in ("round", "block")},
        "trial_id": first["trial_id"],
        "wall_time_seconds": float(first["wall_time_seconds"]),
        "num_evaluations": len(rows),
        **unknown,
    }


def _delete_parts(folder: storage.Location) -> None:
    for name in storage.list_files(folder, ".parquet"):
        storage.delete_file(folder.join(name))


def _metadata_of(file: storage.Location) -> Mapping[bytes, bytes]:
    """The metadata of a part of the evaluations of any space; StateError if it is damaged."""
    try:
        table = read_part(file, evaluations_schema, REBUILT)
    except UnreadableError:
        raise
    except StateError:
        table = read_part(file, partial(evaluations_schema, has_numbers=True), REBUILT)
    metadata: Mapping[bytes, bytes] = table.schema.metadata
    return metadata


def _config_of_tables(place: storage.Location) -> dict[str, Any] | None:
    """The configuration from the metadata of the newest readable part of the evaluations; None if there is none.

    A search in a Tune pipeline adds coefficients and the scale to its configuration once it has learned them. Parts
    that were written earlier do not have them.
    """
    folder = place.join(EVALUATIONS)
    for name in reversed(storage.list_files(folder, ".parquet")):
        try:
            metadata = _metadata_of(folder.join(name))
            config = json.loads(metadata[CONFIG_KEY.encode()])
        except UnreadableError:
            raise
        except (StateError, KeyError, ValueError):
            continue
        if isinstance(config, dict) and is_calibrated(config):
            return config
    return None
