"""The optimiser's state on disk as plain data, replaced atomically. If it is lost, the evaluations are replayed."""

from collections.abc import Mapping
from typing import Any

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.runs.documents import encode_document, read_document
from multinas_ray.runs.layout import STATE_FILE

SNAPSHOT_REMEDY = "delete it, and the search computes it again from the evaluations when it resumes"


def encode_snapshot(state: Mapping[str, Any]) -> bytes:
    """Encode a state as the content of its file, so that later changes of it do not count.

    Args:
        state: Plain data with arrays: `optimizer` is the optimiser's state, `elapsed_seconds` the time so far.

    Raises:
        StateError: Something in it is not plain data.
    """
    return encode_document(STATE_FILE, state, indent=None)


def write_snapshot(path: storage.AnyPath, content: bytes) -> None:
    """Write an encoded state; durable on return, and the old one stays whole until then.

    Args:
        path: `<storage_path>/<run>`; the folder exists.
        content: What `encode_snapshot` gave.

    Raises:
        StorageError: The file system refused.
    """
    storage.write_atomic(storage.resolve(path).join(STATE_FILE), content)


def load_snapshot(path: storage.AnyPath, remedy: str = SNAPSHOT_REMEDY) -> dict[str, Any] | None:
    """Read the newest state.

    Args:
        path: `<storage_path>/<run>`.
        remedy: Remedy that the message names if the state is damaged.

    Returns:
        The state, equal bit for bit (tuples as lists), or None if none was saved yet.

    Raises:
        StateError: The file is damaged or of another version.
    """
    file = storage.resolve(path).join(STATE_FILE)
    if not storage.exists(file):
        return None
    state = read_document(file, remedy)
    if not isinstance(state.get("optimizer"), dict) or type(state.get("elapsed_seconds")) not in (int, float):
        raise StateError(f"{file} is not the state of a search: {remedy}")
    return state
