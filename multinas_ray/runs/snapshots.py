"""The optimiser's state on disk: plain data, versioned, replaced atomically."""

from collections.abc import Mapping
from typing import Any

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.storage import decode_plain, encode_plain

STATE_FILE = "state.json"
STATE_VERSION = 2


def save_snapshot(path: storage.AnyPath, state: Mapping[str, Any]) -> None:
    """Write a state; durable on return, and the old one stays whole until then.

    Args:
        path: `<storage_path>/<run>`; the folder exists.
        state: Plain data with arrays, such as `MultiDistributionOptimizer.state_dict()`.

    Raises:
        StateError: Something in it is not plain data.
        OSError: The file system refused.
    """
    text = encode_plain({"state_version": STATE_VERSION, "state": state})
    storage.write_atomic(storage.resolve(path).join(STATE_FILE), text.encode())


def load_snapshot(path: storage.AnyPath) -> dict[str, Any] | None:
    """Read the newest state.

    Args:
        path: `<storage_path>/<run>`.

    Returns:
        The state, equal bit for bit (tuples as lists), or None if none was saved yet.

    Raises:
        StateError: The file is damaged or of another version.
    """
    file = storage.resolve(path).join(STATE_FILE)
    if not storage.exists(file):
        return None
    try:
        content = decode_plain(storage.read_bytes(file))
    except StateError as error:
        raise StateError(f"{file}: {error}") from error
    if not isinstance(content, dict) or set(content) != {"state_version", "state"}:
        raise StateError(f"{file} is not a saved state: restore a copy, or delete it to fold the whole record")
    if content["state_version"] != STATE_VERSION:
        raise StateError(
            f"{file} has state version {content['state_version']}, this package reads {STATE_VERSION}: "
            "use the version of multinas-ray that wrote it"
        )
    state: dict[str, Any] = content["state"]
    return state
