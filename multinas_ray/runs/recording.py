"""Writing the record of a search of any kind.

Notation: K distributions, N evaluations that are recorded together, D variables, C categories (padded).
"""

import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multinas_ray import storage
from multinas_ray.core import Optimizer, Proposals
from multinas_ray.runs.configuration import write_config
from multinas_ray.runs.layout import EVALUATIONS, ROUNDS
from multinas_ray.runs.recorded_tables import (
    DistributionTable,
    RoundRow,
    RoundTable,
    consuming_update,
    describer,
    evaluations_writer,
    rounds_writer,
)
from multinas_ray.runs.schema import config_metadata, has_numbers
from multinas_ray.runs.sessions import RunSession
from multinas_ray.runs.snapshots import encode_snapshot, write_snapshot
from multinas_ray.runs.unsent import unsent_folder
from multinas_ray.runs.uploads import Uploads
from multinas_ray.settings import Measured, PositiveFloat, checked, checked_arguments


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

    For a run in an object store with `upload_seconds`, rows are durable on a disk of this machine (see `unsent`). A
    thread brings them into the store every few seconds, so that no call waits for a request except `flush`, `save` and
    `close`.

    Args:
        session: This start of the driver.
        config: The run's configuration, which is on disk already.
        upload_seconds: Time between two uploads into an object store; None: rows are in the store when a call returns.

    Raises:
        StateError: The existing record cannot be read, or another driver is at work.
        StorageError: The file system refused.
    """

    @checked_arguments
    def __init__(
        self, session: RunSession, config: Mapping[str, Any], upload_seconds: PositiveFloat | None = None
    ) -> None:
        self.session, self.config = session, dict(config)
        place = storage.resolve(session.run_path)
        session.check_newest()
        is_late = upload_seconds is not None and not place.is_local
        self._unsent = unsent_folder(place, session.number) if is_late else None
        self._evaluations = evaluations_writer(place, config, self._unsent)
        self._has_drawn = has_numbers(config)
        self._distributions = DistributionTable(place, config, flushes_by_itself=not is_late)
        self._rounds = RoundTable(place, config, self._unsent) if config["kind"] == "oneshot" else None
        self._samples_per_update = int(config["optimizer"]["samples_per_update"])
        self._describe = describer(config)
        self._num_ordered = 0
        self._snapshot: bytes | None = None
        self._started_seconds = self._saved_seconds = time.monotonic()
        self._uploads = Uploads(self._write, upload_seconds) if is_late and upload_seconds is not None else None

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
            StorageError: The file system refused; then none of the results is kept. Or an object store has not taken
                the rows of the last minute.
        """
        self._check()
        self._evaluations.append(self._columns(results), sync=sync)
        self._num_ordered += 0 if results.draws is None else len(results.ids)

    def append_round(self, row: RoundRow) -> None:
        """Make the figures of a round durable, after its evaluations; errors as in `append`."""
        assert self._rounds is not None, "a search in a Tune pipeline has no rounds"
        self._check()
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
        if self._uploads is None:
            self._write()
        else:
            self._uploads.now()

    def save(self, optimizer: Optimizer, **further: Any) -> None:
        """Write everything, then a snapshot that relies on it; errors as in `append`.

        Args:
            optimizer: The distributions.
            further: Plain data that the search needs to resume.
        """
        self._take_snapshot(optimizer, further)
        self.flush()

    def save_soon(self, optimizer: Optimizer, **further: Any) -> None:
        """The same, but with the next upload where there are uploads; arguments and errors as for `save`."""
        self._take_snapshot(optimizer, further)
        if self._uploads is None:
            self._write()

    def close(self) -> None:
        """Bring what is left on this machine into an object store. Nothing can be recorded afterwards.

        Raises:
            StateError: Another driver has resumed the run.
            StorageError: The store refused. The rows stay on this machine, and a resumed search here takes them up.
        """
        if self._uploads is None or self._unsent is None:
            return
        self._uploads.close()
        self._uploads.now()
        storage.delete_folder(self._unsent)

    def _check(self) -> None:
        """Check that rows may be recorded, without a request to an object store."""
        if self._uploads is None:
            self.session.check_newest()
        else:
            self.session.check_here()
            self._uploads.check()

    def _take_snapshot(self, optimizer: Optimizer, further: Mapping[str, Any]) -> None:
        state = {**further, "elapsed_seconds": self.elapsed_seconds, "optimizer": optimizer.state_dict()}
        self._snapshot = encode_snapshot(state)
        self._saved_seconds = time.monotonic()

    def _write(self) -> None:
        """Write everything, each after what it relies on: distributions on evaluations, the snapshot on both.

        The thread of the uploads calls it while the search goes on, so what relies on others is taken first.
        """
        snapshot, number = self._snapshot, self._distributions.num_noted
        self.session.check_newest()
        self._evaluations.flush()
        self.session.check_newest()
        self._distributions.flush(number)
        if self._rounds is not None:
            self.session.check_newest()
            self._rounds.flush()
        if snapshot is not None:
            self.session.check_newest()
            write_snapshot(self.session.run_path, snapshot)
            if self._snapshot is snapshot:
                self._snapshot = None

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


def take_up_unsent(session: RunSession, config: Mapping[str, Any]) -> str | None:
    """Bring rows that earlier sessions have left on this machine's disk into the object store of the run.

    Args:
        session: The new start of the driver. Drivers that began before it no longer write.
        config: The run's configuration.

    Returns:
        A sentence that says what was done; None if there was nothing to do.

    Raises:
        StateError: The rows do not fit those in the store, or another driver has resumed the run.
        StorageError: The file system refused.
    """
    place, found = storage.resolve(session.run_path), False
    if place.is_local:
        return None
    for number in session.unsent_sessions:
        folder = unsent_folder(place, number)
        for writer, name in ((evaluations_writer, EVALUATIONS), (rounds_writer, ROUNDS)):
            if storage.list_files(folder.join(name), ".jsonl"):
                session.check_newest()
                writer(place, config, folder)
                found = True
    folder = unsent_folder(place)
    for name in storage.list_folders(folder):
        if name != unsent_folder(place, session.number).name:
            storage.delete_folder(folder.join(name))
    return f"Rows that were on the disk of this machine were brought into {place}." if found else None
