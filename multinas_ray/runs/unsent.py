"""Rows that lie on a disk of this machine until an object store has them.

The record of a run in an object store is written by way of this machine: a row is safe on its disk at once, and rows go
to the store together every few seconds. They lie in `<machine_folder>/unsent/<run>/<session>`. A later session on the
same machine takes up what an earlier one could not send, unless a session on another machine has begun in between: that
one has gone on from the store, and drew anew. A secret number, which stands in the folder and among the facts of the
session in the store, shows that a session was begun here.
"""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable

from multinas_ray.errors import StateError, UnreadableError
from multinas_ray.runs.documents import read_document, write_document
from multinas_ray.storage import (
    AnyPath,
    Location,
    delete_folder,
    exists,
    list_folders,
    machine_folder,
    make_folder,
    resolve,
)

CLAIM_FILE, TOKEN = "claim.json", "disk"
"""The file that holds the number, and its name there and among the facts of a session."""

_NO_COPY = "delete the folder"


def unsent_folder(run_path: AnyPath, session: int | None = None) -> Location:
    """The folder of this machine for a run in an object store, or for one session of it."""
    place = resolve(run_path)
    assert place.store is not None, "a run on a disk needs no such folder"
    address = f"{place.store.root}/{place.path}"
    folder = machine_folder().join("unsent", f"{place.name}-{zlib.crc32(address.encode()):08x}")
    return folder if session is None else folder.join(f"{session:04d}")


def claim(run_path: AnyPath, session: int) -> str:
    """Begin a session on this machine, before its note is in the store; returns the number for the note.

    Folders of this session or later ones are of another run that was once at the same address; they are deleted.

    Raises:
        StorageError: The disk refused.
    """
    folder, token = unsent_folder(run_path), secrets.token_hex(16)
    for name in list_folders(folder):
        if name.isdecimal() and int(name) >= session:
            delete_folder(folder.join(name))
    own = unsent_folder(run_path, session)
    make_folder(own)
    write_document(own.join(CLAIM_FILE), {TOKEN: token})
    return token


def is_claimed(run_path: AnyPath, session: int) -> bool:
    """Whether a session was begun on this machine."""
    return exists(unsent_folder(run_path, session))


def unsent_sessions(run_path: AnyPath, session: int, note_of: Callable[[int], Location]) -> list[int]:
    """The sessions before this one whose rows may be taken up: those since the last one on another machine.

    Args:
        run_path: The run's folder in the store.
        session: The present session.
        note_of: The file of a session in the store.

    Raises:
        StorageError: The store refused.
    """
    first = session
    while first > 0 and _was_here(unsent_folder(run_path, first - 1).join(CLAIM_FILE), note_of(first - 1)):
        first -= 1
    return list(range(first, session))


def _was_here(claimed: Location, note: Location) -> bool:
    if not exists(claimed):
        return False
    try:
        return bool(read_document(claimed, _NO_COPY).get(TOKEN) == read_document(note, _NO_COPY).get(TOKEN, ""))
    except UnreadableError:
        if exists(note):
            raise
    except StateError:
        pass
    return False
