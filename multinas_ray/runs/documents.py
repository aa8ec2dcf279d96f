"""The small files of a record: JSON objects with a version and a checksum, by which damage is detected."""

import zlib
from collections.abc import Mapping
from typing import Annotated, Any

from annotated_types import Ge, Le

from multinas_ray.errors import StateError, UnreadableError, first_line
from multinas_ray.runs.schema import SCHEMA_VERSION
from multinas_ray.settings import checked_arguments
from multinas_ray.storage import AnyPath, decode_plain, encode_plain, read_bytes, resolve, write_atomic

Indent = Annotated[int, Ge(0), Le(16)]
"""Spaces per level."""

VERSION_NAME, CHECKSUM_NAME = "schema_version", "checksum"
EDITED = "edited"
"""In place of a checksum, this says that somebody has changed the file on purpose."""


@checked_arguments
def write_document(
    file: AnyPath, content: Mapping[str, Any], *, indent: Indent | None = 2, overwrite: bool = True
) -> None:
    """Write a file of plain data, atomically; its folder exists.

    Args:
        file: The file.
        content: Plain data, see `storage.encode_plain`.
        indent: Spaces per level for human readers, None for one line.
        overwrite: False refuses to replace a file.

    Raises:
        StateError: Something in it is not plain data, or it has one of the keys that are added here.
        FileTakenError: `overwrite` is False and the file exists.
        StorageError: The file system refused.
    """
    write_atomic(file, encode_document(resolve(file).name, content, indent=indent), overwrite=overwrite)


def encode_document(name: str, content: Mapping[str, Any], *, indent: int | None) -> bytes:
    """The content of a file of this name, as `write_document` writes it; arguments and StateError as there."""
    for key in (VERSION_NAME, CHECKSUM_NAME):
        if key in content:
            raise StateError(f"the key {key!r} of {name} is written by this package: remove it")
    versioned = {VERSION_NAME: SCHEMA_VERSION, **content}
    return encode_plain({**versioned, CHECKSUM_NAME: _checksum(versioned)}, indent=indent).encode()


@checked_arguments
def read_document(file: AnyPath, remedy: str) -> dict[str, Any]:
    """Read what `write_document` wrote.

    Args:
        file: The file.
        remedy: Remedy that the message names if the file is damaged.

    Returns:
        The content, equal bit for bit (tuples as lists).

    Raises:
        StateError: The file is damaged or of another version; the message names it and the remedy.
        UnreadableError: The file is missing, or the file system refused.
    """
    place = resolve(file)
    try:
        content = decode_plain(read_bytes(place))
    except UnreadableError:
        raise
    except StateError as error:
        raise StateError(f"{place} is damaged ({first_line(error)}): {remedy}") from error
    if not isinstance(content, dict):
        raise StateError(f"{place} must contain a JSON object, it contains a {type(content).__name__}: {remedy}")
    check_version(content.get(VERSION_NAME), place)
    found = content.pop(CHECKSUM_NAME, None)
    if found not in (EDITED, _checksum(content)):
        raise StateError(
            f"{place} has changed since it was written, its checksum differs: {remedy}; if you changed it on purpose, "
            f'set its "{CHECKSUM_NAME}" to "{EDITED}"'
        )
    del content[VERSION_NAME]
    return content


def check_version(version: object, place: AnyPath) -> None:
    """Check that a file has the record's present version.

    Raises:
        StateError: It has another version.
    """
    if version != SCHEMA_VERSION:
        raise StateError(
            f"{resolve(place)} has schema version {version}, this package reads version {SCHEMA_VERSION}: use the "
            "version of multinas-ray that wrote it"
        )


def _checksum(content: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(encode_plain(content).encode()):08x}"
