"""Writing the record of a search of any kind.

Notation: K distributions, N evaluations that are recorded together, D variables, C categories (padded).
"""

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from multinas_ray import storage
from multinas_ray.core import Optimizer, Proposals
from multinas_ray.runs.config_space import ConfigSpace
from multinas_ray.runs.configuration import write_config
from multinas_ray.runs.layout import DISTRIBUTIONS, EVALUATIONS, ROUNDS
from multinas_ray.runs.schema import (
    config_metadata,
    distributions_schema,
    evaluations_schema,
    has_numbers,
    journal_header,
    rounds_schema,
)
from multinas_ray.runs.sessions import RunSession
from multinas_ray.runs.snapshots import save_snapshot
from multinas_ray.settings import Measured, checked, checked_arguments
from multinas_ray.storage import JournaledWriter, TableWriter

DISTRIBUTION_ROWS_PER_PART = 1024
"""Distributions may change often; small parts keep the rewriting of the open part cheap."""

RoundRow = Mapping[str, Any]
"""Columns of one round except `wall_time_seconds`, see `rounds_schema`."""


@checked
@dataclass(frozen=True, kw_only=True)
class Results:
    """Results of N evaluations that are recorded together, in the order in which the optimiser is told.

    The other columns of a row are computed by the record.
    """

    ids: Sequence[int]
    """(N,) ids, at least 0 for draws and negative for architectures that were not drawn with a known density."""
    architectures: Sequence[Sequence[int]]
    """(N, D)."""
    draws: Proposals | None
    """The N draws with their densities; None: no update may use these rows."""
    trial_id: str
    """Tune's id of the trial that reported them."""
    losses: Sequence[Measured]
    """(N,) minimised; inf for a failed evaluation."""
    complexities: Sequence[Measured | None]
    """(N,) normalised; None while the scale is not known."""
    costs: Mapping[str, Sequence[Measured | None]]
    """Column -> (N,) raw costs; None if an evaluation did not report it."""
    accuracies: Sequence[Measured] | None = None
    """(N,) in [0, 1]."""
    drawn: Sequence[str | None] | None = None
    """(N,) values that were drawn and not searched, as JSON; None: there are none."""
    reused_ids: Sequence[int | None] | None = None
    """(N,) id of the evaluation that each one repeats; None: all were run."""
    round: int | None = None
    """The round that evaluated them; None: each result belongs to the round of its update."""
    block: int = -1
    """Number of the block of rounds that reported them; -1: the search has no blocks."""

    @classmethod
    def of_checked(cls, **columns: Any) -> "Results":
        """Make results from values that were checked before, without checking them again, which takes most of the time.

        Args:
            columns: the fields; those without a default must be there.
        """
        made = object.__new__(cls)
        vars(made).update({**_DEFAULTS, **columns})
        return made


_DEFAULTS = {
    field.name: field.default for field in dataclasses.fields(Results) if field.default is not dataclasses.MISSING
}


class RunRecord:
    """Writes the record of a search.

    Evaluations and rounds are durable when `append` and `append_round` return; call them before the optimiser is told.
    Distributions can be computed from the evaluations, so they are kept in memory until the next `flush`. Nothing is
    written once another driver has resumed the run.

    Args:
        session: This start of the driver.
        config: The run's configuration, which is on disk already.

    Raises:
        StateError: The existing record cannot be read, or another driver is at work.
        StorageError: The file system refused.
    """

    @checked_arguments
    def __init__(self, session: RunSession, config: Mapping[str, Any]) -> None:
        self.session, self.config = session, dict(config)
        place, costs, metadata = storage.resolve(session.run_path), list(config["costs"]), config_metadata(config)
        session.check_newest()
        self._evaluations = JournaledWriter(
            place.join(EVALUATIONS),
            evaluations_schema(costs, has_numbers=has_numbers(config)),
            journal_header(costs),
            metadata,
        )
        self._has_drawn = has_numbers(config)
        self._distributions = DistributionTable(place, config)
        self._rounds = RoundTable(place, config) if config["kind"] == "oneshot" else None
        self._samples_per_update = int(config["optimizer"]["samples_per_update"])
        self._describe = describer(config)
        self._num_ordered = 0
        self._started_seconds = self._saved_seconds = time.monotonic()

    @property
    def elapsed_seconds(self) -> float:
        """Wall time of the run over all its sessions."""
        return time.monotonic() - self._started_seconds

    @property
    def seconds_since_save(self) -> float:
        """Time since the last snapshot, or since the start of this session."""
        return time.monotonic() - self._saved_seconds

    def go_on(
        self, *, num_ordered: int, last_update: int, elapsed_seconds: float, rounds: Collection[int] = ()
    ) -> None:
        """Continue from the totals of earlier sessions.

        Args:
            num_ordered: Number of recorded results that updates use.
            last_update: Newest recorded update.
            elapsed_seconds: Wall time of the earlier sessions.
            rounds: Recorded rounds. One of them that is done again is not recorded again.
        """
        if self._rounds is not None:
            self._rounds.known = set(rounds)
        self._num_ordered, self._distributions.last_update = num_ordered, last_update
        self._started_seconds = time.monotonic() - elapsed_seconds

    def update_config(self, **changes: Any) -> None:
        """Replace parts of the configuration, atomically; the tables' metadata repeat it from the next write on."""
        self.session.check_newest()
        config = {**self.config, **changes}
        write_config(self.session.run_path, config)
        self.config = config
        self._evaluations.set_metadata(config_metadata(config))

    def append(self, results: Results, *, sync: bool = True) -> None:
        """Make results durable, all of them or none.

        Args:
            results: The evaluations and their results.
            sync: Whether they must survive a crash of the whole machine too; see `JournaledWriter`.

        Raises:
            StateError: Another driver has resumed the run.
            StorageError: The file system refused; then none of the results is kept.
        """
        self.session.check_newest()
        self._evaluations.append(self._columns(results), sync=sync)
        self._num_ordered += 0 if results.draws is None else len(results.ids)

    def append_round(self, row: RoundRow) -> None:
        """Make the figures of a round durable, after its evaluations; errors as in `append`."""
        assert self._rounds is not None, "a search in a Tune pipeline has no rounds"
        self.session.check_newest()
        self._rounds.append({**row, "wall_time_seconds": self.elapsed_seconds})

    def note_update(self, optimizer: Optimizer, round_number: int) -> None:
        """Note the distributions after an update, once; they are written with the next flush.

        Args:
            optimizer: The optimiser after the update.
            round_number: The newest round whose results it was told.
        """
        self._distributions.note(optimizer, round_number)

    def flush(self) -> None:
        """Write everything as Parquet; errors as in `append`."""
        self.session.check_newest()
        self._evaluations.flush()
        self._distributions.flush()
        if self._rounds is not None:
            self._rounds.flush()

    def save(self, optimizer: Optimizer, **further: Any) -> None:
        """Write everything, then a snapshot that relies on it; errors as in `append`.

        Args:
            optimizer: The distributions.
            further: Plain data that the search needs to resume.
        """
        self.flush()
        state = {**further, "elapsed_seconds": self.elapsed_seconds, "optimizer": optimizer.state_dict()}
        save_snapshot(self.session.run_path, state)
        self._saved_seconds = time.monotonic()

    def _columns(self, results: Results) -> dict[str, Sequence[Any]]:
        total = len(results.ids)
        drawn = self._drawn_columns(results.draws, total)
        rounds = [-1 if update < 0 else update - 1 for update in drawn["update"]]
        return {
            "id": results.ids,
            "round": rounds if results.round is None else [results.round] * total,
            "block": [results.block] * total,
            "trial_id": [results.trial_id] * total,
            "architecture": results.architectures,
            "architecture_readable": [self._describe(row) for row in results.architectures],
            **({"drawn": results.drawn or [None] * total} if self._has_drawn else {}),
            "loss": results.losses,
            "accuracy": results.accuracies or [None] * total,
            **{name: results.costs.get(name) or [None] * total for name in self.config["costs"]},
            "complexity": results.complexities,
            **drawn,
            "reused_id": results.reused_ids or [None] * total,
            "wall_time_seconds": [self.elapsed_seconds] * total,
            "timestamp": [time.time_ns() // 1000] * total,
        }

    def _drawn_columns(self, draws: Proposals | None, total: int) -> dict[str, Sequence[Any]]:
        """Columns about the draws of N results and their places in the order of results."""
        names = ("source", "drawn_at_update", "tell_order", "update")
        if draws is None:
            return {**{name: [-1] * total for name in names}, "log_q": [0.0] * total}
        orders = range(self._num_ordered, self._num_ordered + total)
        updates = [consuming_update(order, self._samples_per_update) for order in orders]
        columns = draws.sources.tolist(), draws.drawn_at.tolist(), list(orders), updates
        return {**dict(zip(names, columns, strict=True)), "log_q": draws.log_q.tolist()}


class DistributionTable:
    """Writes the distributions after each update, many at once, which is far faster than one by one.

    Args:
        place: The run's folder.
        config: Its configuration.
    """

    def __init__(self, place: storage.Location, config: Mapping[str, Any]) -> None:
        self._table = TableWriter(
            place.join(DISTRIBUTIONS),
            distributions_schema(has_numbers=has_numbers(config)),
            config_metadata(config),
            DISTRIBUTION_ROWS_PER_PART,
        )
        self._has_cells = has_numbers(config)
        self._describe = describer(config)
        self._updates: list[dict[str, Any]] = []
        self.last_update = 0
        """Newest update that was written or noted."""

    def note(self, optimizer: Optimizer, round_number: int) -> None:
        """Note the distributions if an update has changed them since the last call."""
        if optimizer.num_updates <= self.last_update:
            return
        self.last_update = optimizer.num_updates
        columns = distribution_columns(optimizer, round_number, self._describe)
        if self._has_cells:
            columns["cells"] = [_cells_of(optimizer)] * optimizer.num_distributions
        self._updates.append(columns)
        if len(self._updates) * optimizer.num_distributions >= DISTRIBUTION_ROWS_PER_PART // 2:
            self.flush()

    def flush(self) -> None:
        """Write everything that was noted."""
        if self._updates:
            self._table.append({name: _joined([each[name] for each in self._updates]) for name in self._updates[0]})
            self._updates = []


class RoundTable:
    """Writes the figures of the rounds of a one-shot search; arguments as for `DistributionTable`.

    On a disk a round is durable at once. In an object store, where each write is a request, rounds are kept in memory
    until the next flush: those of the search can be rebuilt from their evaluations, and a resumed warm-up does the lost
    ones again.
    """

    def __init__(self, place: storage.Location, config: Mapping[str, Any]) -> None:
        folder, metadata = place.join(ROUNDS), config_metadata(config)
        self._journal, self._table = None, None
        if place.is_local:
            self._journal = JournaledWriter(folder, rounds_schema(), journal_header(()), metadata)
        else:
            self._table = TableWriter(folder, rounds_schema(), metadata)
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
        "probs": [[row[row > 0.0] for row in one] for one in probs_KDC],
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


def _joined(parts: Sequence[Any]) -> Any:
    """The rows of one column, part by part."""
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [value for part in parts for value in part]
