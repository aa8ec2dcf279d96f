"""The errors of disks and object stores in one line each: the place, the reason and the remedy."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from multinas_ray.errors import StorageError, first_line
from multinas_ray.storage.contact import ANSWER_SECONDS, NO_ANSWER, OUT_OF_REACH
from multinas_ray.storage.places import Location

_DENIED = ("permission denied", "change the rights of the file and its folders, or choose another place")
_BY_NUMBER: dict[int | None, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose a folder on another disk"),
    errno.EDQUOT: ("this user's quota of the disk is used up", "delete files, or choose a folder on another disk"),
    errno.EROFS: ("the file system is read-only", "choose a folder on another one"),
    errno.EACCES: _DENIED,
    errno.EPERM: _DENIED,
    errno.ENAMETOOLONG: ("a name in it is longer than the file system allows", "choose a shorter name"),
    errno.EISDIR: ("it is a folder", "give the name of a file"),
    errno.ENOENT: ("the file system takes no new files there", "choose another folder"),
    errno.ENOTEMPTY: ("another process writes into the folder", "stop it, and try again"),
    errno.ELOOP: ("its symbolic links lead in a circle", "correct or remove them"),
    errno.EFBIG: ("the file is larger than this system allows", "raise the limit (ulimit -f)"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open", "close some programs"),
}
"""Error number -> the reason and the remedy."""

_BY_TEXT: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        (NO_ANSWER,),
        f"the store gave no answer within {ANSWER_SECONDS:g} seconds",
        "check the network, the credentials in the environment, the region and the endpoint",
    ),
    (("NO_SUCH_BUCKET", "Bucket '"), "the bucket does not exist", "create it, or check its name and region"),
    (
        ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "INVALID_CLIENT_TOKEN", "SIGNATURE", "HTTP status 403", "PERMISSION"),
        "the store does not accept the credentials",
        "check the credentials in the environment and what they allow",
    ),
    (
        ("access token", "Credential", "UNAUTHENTICATED", "HTTP status 401"),
        "no credentials were found",
        "put the store's credentials into the environment",
    ),
    (
        OUT_OF_REACH,
        "the store cannot be reached",
        "check the network, the region and the endpoint",
    ),
)
"""Words of an object store's error, one of which is enough, with the reason and the remedy."""


@contextmanager
def translated_errors(place: Location, action: str, kind: type[StorageError] = StorageError) -> Iterator[None]:
    """Turn the errors that the system and pyarrow raise in the context into errors of this package.

    Args:
        place: The file or folder that is worked on.
        action: What is done to it, as a participle: "read", "written", "created" or "deleted".
        kind: The class of the error.

    Raises:
        StorageError: The system refused; its text is one line with the place, the reason and the remedy.
    """
    try:
        yield
    except StorageError:
        raise
    except (OSError, pa.ArrowException) as error:
        number = error.errno if isinstance(error, OSError) else None
        reason, remedy = _explain(place, action, number, first_line(error))
        text = f"{place} cannot be {action} ({reason}): {remedy}"
        raise (kind(text) if number is None else kind(number, text)) from error


def _explain(place: Location, action: str, number: int | None, text: str) -> tuple[str, str]:
    """The reason and the remedy for an error number, or for the text where there is no number."""
    if not place.is_local:
        return ("it is missing", "check the path") if number == errno.ENOENT else _explain_by_text(text)
    path = place.path
    if number is None and os.path.isdir(path):  # noqa: PTH112 - unlike Path's, these never raise
        number = errno.EISDIR
    if number in (errno.ENOTDIR, errno.EEXIST):
        return f"{_file_among_folders(path)} is not a folder", "choose a place in a folder"
    if number == errno.ENOENT:
        if os.path.islink(path):  # noqa: PTH114
            return f"it is a symbolic link to {Path(path).readlink()}, which is missing", "correct or remove the link"
        if not os.path.exists(place.parent.path):  # noqa: PTH110
            return f"there is no folder {place.parent}", "create it, or check the path"
        if action == "read":
            return "it is missing", "check the path"
    return _BY_NUMBER.get(number) or (os.strerror(number) if number else text, "check the disk")


def _file_among_folders(path: str) -> str:
    """The part of a path that exists and is not a folder."""
    parts = (path, *map(str, Path(path).parents))
    return next((part for part in parts if os.path.exists(part) and not os.path.isdir(part)), path)  # noqa: PTH110, PTH112


def _explain_by_text(text: str) -> tuple[str, str]:
    for words, reason, remedy in _BY_TEXT:
        if any(word in text for word in words):
            return reason, remedy
    return text, "check the bucket and the credentials"
