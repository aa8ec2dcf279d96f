"""The tables of a record as they are written: evaluations, distributions and rounds.

Notation: K distributions, D variables, C categories (padded).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from multinas_ray import storage
from multinas_ray.core import Optimizer
from multinas_ray.runs.config_space import ConfigSpace
from multinas_ray.runs.layout import DISTRIBUTIONS, EVALUATIONS, ROUNDS
from multinas_ray.runs.schema import (
    config_metadata,
    distributions_schema,
    evaluations_schema,
    has_numbers,
    journal_header,
    rounds_schema,
)
from multinas_ray.storage import JournaledWriter, TableWriter

DISTRIBUTION_ROWS_PER_PART = 1024
"""Distributions may change often; small parts keep the rewriting of the open part cheap."""

RoundRow = Mapping[str, Any]
"""Columns of one round except `wall_time_seconds`, see `rounds_schema`."""


def evaluations_writer(
    place: storage.Location, config: Mapping[str, Any], journal: storage.Location | None = None
) -> JournaledWriter:
    """Open the table of evaluations; arguments and errors as for `RoundTable` and `JournaledWriter`."""
    costs = list(config["costs"])
    schema = evaluations_schema(costs, has_numbers=has_numbers(config))
    below = None if journal is None else journal.join(EVALUATIONS)
    return JournaledWriter(place.join(EVALUATIONS), schema, journal_header(costs), config_metadata(config), below)


def rounds_writer(
    place: storage.Location, config: Mapping[str, Any], journal: storage.Location | None = None
) -> JournaledWriter:
    """Open the table of rounds; arguments and errors as for `RoundTable` and `JournaledWriter`."""
    below = None if journal is None else journal.join(ROUNDS)
    return JournaledWriter(place.join(ROUNDS), rounds_schema(), journal_header(()), config_metadata(config), below)


class DistributionTable:
    """Writes the distributions after each update, many at once, which is far faster than one by one.

    Args:
        place: The run's folder.
        config: Its configuration.
        flushes_by_itself: Whether they are written as soon as there are many, and not only by `flush`.
    """

    def __init__(self, place: storage.Location, config: Mapping[str, Any], *, flushes_by_itself: bool = True) -> None:
        self._table = TableWriter(
            place.join(DISTRIBUTIONS),
            distributions_schema(has_numbers=has_numbers(config)),
            config_metadata(config),
            DISTRIBUTION_ROWS_PER_PART,
        )
        self._flushes_by_itself, self._has_cells = flushes_by_itself, has_numbers(config)
        self._describe = describer(config)
        self._updates: list[dict[str, Any]] = []
        self.last_update = 0
        """Newest update that was written or noted."""

    @property
    def num_noted(self) -> int:
        """Updates that are not written yet."""
        return len(self._updates)

    def note(self, optimizer: Optimizer, round_number: int) -> None:
        """Note the distributions if an update has changed them since the last call."""
        if optimizer.num_updates <= self.last_update:
            return
        self.last_update = optimizer.num_updates
        columns = distribution_columns(optimizer, round_number, self._describe)
        if self._has_cells:
            columns["cells"] = [_cells_of(optimizer)] * optimizer.num_distributions
        self._updates.append(columns)
        if (
            self._flushes_by_itself
            and len(self._updates) * optimizer.num_distributions >= DISTRIBUTION_ROWS_PER_PART // 2
        ):
            self.flush()

    def flush(self, number: int | None = None) -> None:
        """Write everything that was noted, or the first `number` updates; another thread may note more meanwhile."""
        written = self._updates[:number]
        if written:
            self._table.append({name: _joined([each[name] for each in written]) for name in written[0]})
            del self._updates[: len(written)]


class RoundTable:
    """Writes the figures of the rounds of a one-shot search.

    Args:
        place: The run's folder.
        config: Its configuration.
        journal: Folder of this machine for the rows of a run in an object store, see `JournaledWriter`. Without one,
            they are kept in memory until the next flush.
    """

    def __init__(
        self, place: storage.Location, config: Mapping[str, Any], journal: storage.Location | None = None
    ) -> None:
        self._journal, self._table = None, None
        if place.is_local or journal is not None:
            self._journal = rounds_writer(place, config, journal)
        else:
            self._table = TableWriter(place.join(ROUNDS), rounds_schema(), config_metadata(config))
        self.known: set[int] = set()
        """Rounds that are recorded already; they are left out."""

    def append(self, row: RoundRow) -> None:
        """Record a round, unless it is on record."""
        if int(row["round"]) in self.known:
            return
        columns = {name: [value] for name, value in row.items()}
        if self._journal is not None:
            self._journal.append(columns)
        elif self._table is not None:
            self._table.buffer(columns)

    def flush(self) -> None:
        """Write everything as Parquet."""
        for writer in (self._journal, self._table):
            if writer is not None:
                writer.flush()


def _cells_of(optimizer: Optimizer) -> list[list[float]]:
    """The first value of each category, as a share of all values of its variable."""
    layout = optimizer.layout
    rows = zip(layout.starts_DC, layout.num_categories, layout.num_values, strict=True)
    return [(starts_C[:count] / total).tolist() for starts_C, count, total in rows]


def distribution_columns(
    optimizer: Optimizer, round_number: int, describe: Callable[[Sequence[int]], str]
) -> dict[str, Any]:
    """Fill `distributions_schema` with the K distributions after an update.

    Args:
        optimizer: The optimiser after the update.
        round_number: The newest round whose results it was told.
        describe: Returns the text of an architecture.
    """
    diagnostics, probs_KDC, total = optimizer.diagnostics(), optimizer.probs, optimizer.num_distributions
    names = ("expected_complexity", "expected_loss", "entropy", "step_size", "effective_sample_size")
    return {
        "update": np.full(total, optimizer.num_updates),
        "round": np.full(total, round_number),
        "distribution": np.arange(total),
        **{name: _known(diagnostics[name]) for name in ("coefficient", "target")},
        **{name: diagnostics[name] for name in (*names, "mode", "mode_probability")},
        "mode_readable": [describe(mode) for mode in diagnostics["mode"].tolist()],
        "probs": _ragged(probs_KDC),
    }


def describer(config: Mapping[str, Any]) -> Callable[[Sequence[int]], str]:
    """A function that turns an architecture into the labels of its choices, separated by blanks."""
    if has_numbers(config):
        return ConfigSpace.from_plain(config["space"]).describe
    labels = config["labels"]
    return lambda architecture: " ".join([names[index] for names, index in zip(labels, architecture, strict=True)])


def consuming_update(tell_order: int, samples_per_update: int) -> int:
    """Return the number, from 1, of the update that uses the result at this place of the order of results."""
    return tell_order // samples_per_update + 1


def _known(values: npt.NDArray[np.float64]) -> list[float | None]:
    """The values, with None in place of NaN."""
    return [None if np.isnan(value) else float(value) for value in values]


def _ragged(probs_KDC: npt.NDArray[np.float64]) -> pa.Array:
    """(K,) lists of D lists of the probabilities without the padding, which are zeros."""
    is_there_KDC = probs_KDC > 0.0
    ends_KD = is_there_KDC.sum(axis=2, dtype=np.int32).ravel().cumsum(dtype=np.int32)
    num_distributions, num_variables = probs_KDC.shape[:2]
    starts_K = np.arange(num_distributions + 1, dtype=np.int32) * num_variables
    rows = pa.ListArray.from_arrays(np.concatenate([[0], ends_KD]).astype(np.int32), probs_KDC[is_there_KDC])
    return pa.ListArray.from_arrays(starts_K, rows)


def _joined(parts: Sequence[Any]) -> Any:
    """The rows of one column, part by part."""
    if isinstance(parts[0], pa.Array):
        return pa.concat_arrays(parts)
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]
