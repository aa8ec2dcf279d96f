"""The optimiser's state on disk: plain data, versioned, replaced atomically."""

from collections.abc import Mapping
from typing import Any

from multinas_ray import storage
from multinas_ray.errors import StateError

STATE_FILE = "state.json"
STATE_VERSION = 2


def save_snapshot(path: storage.AnyPath, state: Mapping[str, Any]) -> None:
    """Write a state; durable on return, and the old one stays whole until then.

    Args:
        path: `<storage_path>/<run>`; the folder exists.
        state: Plain data with arrays, such as `MultiDistributionOptimizer.state_dict()`.

    Raises:
        StateError: Something in it is not plain data.
        StorageError: The file system refused.
    """
    storage.write_plain(storage.resolve(path).join(STATE_FILE), {"state_version": STATE_VERSION, "state": state})


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
    content = storage.read_plain(file)
    if not isinstance(content, dict) or set(content) != {"state_version", "state"}:
        raise StateError(f"{file} is not a saved state: restore a copy, or delete it to fold the whole record")
    if content["state_version"] != STATE_VERSION:
        raise StateError(
            f"{file} has state version {content['state_version']}, this package reads {STATE_VERSION}: "
            "use the version of multinas-ray that wrote it"
        )
    state: dict[str, Any] = content["state"]
    return state
