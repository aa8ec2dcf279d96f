"""Sessions of a run: the starts of its driver, which are counted and recorded with time and machine.

Only one driver may write into a record. Each start writes a new file with the next number, and from then on that
session owns the run. Before a driver writes anything, it looks for the file of its successor; in an object store, where
each look is a request, it does so once a second. A successor waits longer than a write takes before it reads the
record. So everything that an earlier driver records is either read by its successor or never written. Rows that lie on
a driver's own disk for a while (see `unsent`) are sent only as long as there is no successor.
"""

from __future__ import annotations

import datetime
import math
import platform
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from multinas_ray.errors import FileTakenError, StateError
from multinas_ray.runs.documents import read_document, write_document
from multinas_ray.runs.layout import CHECKPOINTS, CONFIG_FILE, DISTRIBUTIONS, EVALUATIONS, ROUNDS, SESSIONS
from multinas_ray.runs.unsent import TOKEN, claim, is_claimed, unsent_sessions
from multinas_ray.settings import checked_arguments
from multinas_ray.storage import AnyPath, Location, delete_leftovers, exists, list_files, make_folder, resolve

STORE_CHECK_SECONDS = 1.0
"""Time between two looks for a successor in an object store."""

LOCAL_WAIT_SECONDS, STORE_WAIT_SECONDS = 0.1, STORE_CHECK_SECONDS + 4.0
"""Time that a successor waits. A part of a table is written in 10 ms on a disk, and in a second in an object store."""

OWN_FOLDERS = (SESSIONS, EVALUATIONS, DISTRIBUTIONS, ROUNDS, CHECKPOINTS)
"""Folders into which only the newest session writes."""

LOST_STEPS = "lost_weight_steps"
"""Name of that number among the facts of a session."""

_NOTE = re.compile(r"(\d{4,})\.json")


class RunSession:
    """One start of a run's driver. The newest one owns the run.

    Args:
        run_path: The run's folder.
        number: Number of earlier starts; 0 for the first.
        facts: What is recorded of it.
    """

    @checked_arguments
    def __init__(self, run_path: AnyPath, number: int, facts: Mapping[str, Any]) -> None:
        self.run_path, self.number = run_path, number
        self._facts = dict(facts)
        self._folder = resolve(run_path).join(SESSIONS)
        self._successor = self._folder.join(_note_name(number + 1))
        self._checked_seconds = -math.inf

    @classmethod
    def begin(cls, run_path: AnyPath) -> RunSession:
        """Record a new start of the driver, and wait until an earlier driver can no longer write.

        Raises:
            StateError: Another driver started at the same moment.
            StorageError: The file system refused.
        """
        folder = resolve(run_path).join(SESSIONS)
        make_folder(folder)
        number = _newest_session(run_path) + 1
        now = datetime.datetime.now(datetime.timezone.utc).isoformat()
        facts = {"session": number, "started": now, "host": platform.node()}
        if not folder.is_local:
            facts[TOKEN] = claim(run_path, number)
        try:
            write_document(folder.join(_note_name(number)), facts, overwrite=False)
        except FileTakenError as error:
            raise StateError(
                f"another driver has resumed {run_path} at the same moment: let the other one run, and start none "
                "beside it"
            ) from error
        if number > 0:
            time.sleep(LOCAL_WAIT_SECONDS if folder.is_local else STORE_WAIT_SECONDS)
            for each in (run_path, *(resolve(run_path).join(name) for name in OWN_FOLDERS)):
                delete_leftovers(each)
        return cls(run_path, number, facts)

    @property
    def is_over(self) -> bool:
        """Whether another driver has resumed the run."""
        return exists(self._successor)

    def add_lost_steps(self, number: int) -> None:
        """Record weight steps that were lost in this session.

        Raises:
            StateError: Another driver has resumed the run.
            StorageError: The file system refused.
        """
        self.check_newest()
        self._facts[LOST_STEPS] = self._facts.get(LOST_STEPS, 0) + number
        write_document(self._folder.join(_note_name(self.number)), self._facts)

    def check_newest(self) -> None:
        """Check that no other driver has resumed the run; call it before anything is written.

        Raises:
            StateError: Another driver has resumed the run.
            StorageError: The file system refused.
        """
        now = time.monotonic()
        if not self._folder.is_local and now - self._checked_seconds < STORE_CHECK_SECONDS:
            return
        if self.is_over:
            raise self._resumed()
        self._checked_seconds = now

    def check_here(self) -> None:
        """Check, for a run in an object store, that no other driver of this machine has resumed it.

        It takes no request. Call it before rows are written on this machine's disk.

        Raises:
            StateError: Another driver has resumed the run.
        """
        if is_claimed(self.run_path, self.number + 1):
            raise self._resumed()

    @property
    def unsent_sessions(self) -> list[int]:
        """Earlier sessions whose rows may lie on this machine's disk and not in the store, see `unsent`."""
        return [] if self._folder.is_local else unsent_sessions(self.run_path, self.number, self._note_of)

    def _note_of(self, number: int) -> Location:
        return self._folder.join(_note_name(number))

    def _resumed(self) -> StateError:
        return StateError(
            f"another driver has resumed {self.run_path} (session {self.number + 1} or later, this one is "
            f"{self.number}): this one stops, so that no evaluation is recorded twice"
        )


def lost_steps(run_path: AnyPath) -> int:
    """Weight steps that restarts have lost in all sessions of a run; sessions whose files are damaged count none."""
    folder, total = resolve(run_path).join(SESSIONS), 0
    for name in list_files(folder, ".json"):
        with suppress(StateError):
            number = read_document(folder.join(name), "restore a copy").get(LOST_STEPS, 0)
            total += number if isinstance(number, int) else 0
    return total


@checked_arguments
def was_started(run_path: AnyPath) -> bool:
    """Whether a driver has begun its first session; before that, a folder has at most a configuration."""
    return _newest_session(run_path) >= 0


@checked_arguments
def has_record(run_path: AnyPath) -> bool:
    """Whether a folder holds the record of a run, whose configuration may be lost."""
    return exists(resolve(run_path).join(CONFIG_FILE)) or was_started(run_path)


def _note_name(number: int) -> str:
    return f"{number:04d}.json"


def _newest_session(run_path: AnyPath) -> int:
    """Number of the newest session, -1 before the first; files with other names are ignored."""
    names = list_files(resolve(run_path).join(SESSIONS), ".json")
    return max((int(match[1]) for match in map(_NOTE.fullmatch, names) if match), default=-1)
