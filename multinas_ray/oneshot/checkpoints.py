"""The checkpoints of a search: the newest weights, as files of its record. Without torch and Ray.

They are part of the truth: evaluations count only together with the weights that gave them. A file's name holds the
round that follows its weights and a checksum of its content, so that a damaged one is noticed and the one before takes
its place.
"""

from __future__ import annotations

import re
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from multinas_ray.errors import MultiNASError, StateError, StorageError, UnreadableError
from multinas_ray.oneshot.schedule import Plan
from multinas_ray.runs import CHECKPOINTS
from multinas_ray.storage import Location, delete_file, list_files, make_folder, read_bytes, resolve, write_atomic

CHECKPOINTS_KEPT = 2
"""Number of checkpoints that are kept: the newest, and the one before in case that the newest is damaged."""
TRIES, WAIT_SECONDS = 4, 3.0
"""How often a checkpoint that must be there is tried, and the time between two tries."""

_NAME = re.compile(r"round-(\d{8,})-([0-9a-f]{8})\.pt")


@dataclass(frozen=True)
class SavedWeights:
    """The newest weights that can be used."""

    name: str | None
    """File in the folder; None if there is none that is whole."""
    next_round: int
    """The first round that has not changed them; 0 without a file."""
    damaged: tuple[str, ...] = ()
    """Newer files, which are damaged."""


def newest_weights(run_path: str) -> SavedWeights:
    """Find the newest whole checkpoint of a run.

    Raises:
        StorageError: the file system refused.
    """
    folder, damaged = resolve(run_path).join(CHECKPOINTS), []
    for name in reversed(_names(folder)):
        try:
            read_weights(run_path, name)
        except UnreadableError:
            if name in _names(folder):
                raise
        except StateError:
            damaged.append(name)
        else:
            return SavedWeights(name, _round_of(name), tuple(damaged))
    return SavedWeights(None, 0, tuple(damaged))


def read_weights(run_path: str, name: str) -> bytes:
    """Read a checkpoint.

    Raises:
        StateError: it is damaged.
        UnreadableError: it is missing, or the file system refused.
    """
    file = resolve(run_path).join(CHECKPOINTS, name)
    content = read_bytes(file)
    match = _NAME.fullmatch(name)
    if match is None or match[2] != _checksum(content):
        raise StateError(f"{file} is damaged, its checksum differs from that in its name: restore a copy")
    return content


def store_weights(run_path: str, next_round: int, content: bytes) -> None:
    """Write a checkpoint, and keep the newest before it; others, such as damaged later ones, are deleted.

    Args:
        run_path: the folder of the run.
        next_round: the first round that has not changed the weights yet.
        content: what the file holds.

    Raises:
        StorageError: the file system refused.
    """
    folder = resolve(run_path).join(CHECKPOINTS)
    make_folder(folder)
    name = f"round-{next_round:08d}-{_checksum(content)}.pt"
    write_atomic(folder.join(name), content)
    names = _names(folder)
    kept = {name, *[each for each in names if _round_of(each) < next_round][1 - CHECKPOINTS_KEPT :]}
    for old in [each for each in names if each not in kept]:
        delete_file(folder.join(old))


class CheckpointWriter:
    """Writes checkpoints beside the next rounds, one at a time. A refusal of the storage is told and ends nothing.

    Args:
        run_path: the folder of the run.
        tell: called with a sentence about each checkpoint that could not be saved, from any thread.
    """

    def __init__(self, run_path: str, tell: Callable[[str], object]) -> None:
        self._run_path, self._tell = run_path, tell
        self._thread: threading.Thread | None = None

    def begin(self, next_round: int, content: bytes) -> None:
        """Write a checkpoint in the background, after the one before is written; see `store_weights`."""
        self.wait()
        self._thread = threading.Thread(target=self._try, args=(next_round, content), name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Wait until nothing is being written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def write(self, next_round: int, content: bytes) -> None:
        """Write a checkpoint that must be there before anything else is done. A refused one is tried again.

        Raises:
            StorageError: the file system refused each time.
        """
        self.wait()
        for attempt in range(1, TRIES + 1):
            try:
                store_weights(self._run_path, next_round, content)
                return
            except StorageError as error:
                if attempt == TRIES:
                    raise
                if attempt == 1:
                    self._tell(f"The weights could not be saved ({error}). It is tried again.")
                time.sleep(WAIT_SECONDS)

    def write_last(self, next_round: int, content: bytes) -> None:
        """Write the checkpoint with which the workers leave, as `write` does; a refusal is only told."""
        with suppress(StorageError):
            self.write(next_round, content)
            return
        self._tell(
            "The last weights could not be saved, so a resumed search goes on with those of the checkpoint before."
        )

    def _try(self, next_round: int, content: bytes) -> None:
        try:
            store_weights(self._run_path, next_round, content)
        except (MultiNASError, OSError) as error:
            self._tell(
                f"A checkpoint could not be saved ({error}). The search goes on; the next one is due as planned."
            )


def first_round(plan: Plan, weights: SavedWeights, recorded_rounds: int, has_evaluations: bool, run_path: str) -> int:
    """The round with which a resumed search goes on.

    As long as nothing is evaluated, the weight steps after the newest checkpoint are done again. Evaluations are not
    made again; then those steps are lost.

    Args:
        plan: the rounds of the search.
        weights: the newest weights that can be used.
        recorded_rounds: the first round that is not in the record.
        has_evaluations: whether any evaluation is recorded.
        run_path: the folder of the run, for messages.

    Raises:
        StateError: the weights that gave the recorded evaluations are lost.
    """
    folder = resolve(run_path).join(CHECKPOINTS)
    if weights.name is None and (has_evaluations or weights.damaged):
        what = (
            f"those that are there are damaged ({', '.join(weights.damaged)})" if weights.damaged else "there is none"
        )
        remedy = "start a new run under another --name" if has_evaluations else "delete it to train anew"
        raise StateError(
            f"a search goes on with the weights of its checkpoint in {folder}, but {what}: restore a copy of the "
            f"folder, or {remedy}"
        )
    if not has_evaluations:
        return min(recorded_rounds, weights.next_round)
    check_trained(weights.next_round, recorded_rounds, plan.warmup_rounds, plan.train_during_search, str(folder))
    return recorded_rounds


def check_trained(
    weights_round: int, first_round: int, warmup_rounds: int, train_during_search: bool, folder: str
) -> None:
    """Check that the search does not go on with weights that were never trained, or not to the end of the warm-up.

    Args:
        weights_round: the first round that has not changed the weights.
        first_round: the first round that is not done.
        warmup_rounds: the weight steps before anything is evaluated.
        train_during_search: whether further ones follow.
        folder: where the weights were looked for.

    Raises:
        StateError: it would.
    """
    if first_round > warmup_rounds and weights_round < (1 if train_during_search else warmup_rounds):
        raise StateError(
            f"the {first_round} rounds on record need weights after all {warmup_rounds} weight steps of the warm-up, "
            f"the newest in {folder} are of step {weights_round}: restore a copy of the folder, or start a new run "
            "under another --name"
        )


def _names(folder: Location) -> list[str]:
    """The checkpoints of a folder by their rounds."""
    return sorted(filter(_NAME.fullmatch, list_files(folder, ".pt")), key=_round_of)


def _round_of(name: str) -> int:
    match = _NAME.fullmatch(name)
    assert match is not None
    return int(match[1])


def _checksum(content: bytes) -> str:
    return f"{zlib.crc32(content):08x}"
