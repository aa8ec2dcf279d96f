"""One Parquet file, written whole or not at all, on local disks and object stores."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.storage.uris import refuse_credentials

PathOrUri = str | os.PathLike[str]

VERSION_KEY, TABLE_KEY = b"multinas_ray.schema_version", b"multinas_ray.table"
"""Keys of a file's metadata: the version of its form, and what it is."""


def read_parquet(path: PathOrUri) -> pa.Table:
    """Read a file from a local path or a URI such as s3://bucket/latency.parquet.

    Raises:
        StateError: there is none, or it cannot be read.
        ConfigError: the URI holds credentials.
    """
    text = os.fspath(path)
    refuse_credentials(text)
    try:
        return pq.read_table(text if "://" in text else Path(text).expanduser())
    except (OSError, pa.ArrowException) as error:
        raise StateError(f"{text} cannot be read as a Parquet file ({error}): check the path") from error


def write_parquet(table: pa.Table, path: PathOrUri) -> None:
    """Write a file to a local path or a URI; a reader never meets half of it. Its folder exists.

    Raises:
        ConfigError: it cannot be written there, or the URI holds credentials.
    """
    text, sink = os.fspath(path), pa.BufferOutputStream()
    refuse_credentials(text)
    pq.write_table(table, sink, compression="zstd")
    try:
        if "://" in text:
            file_system, inner = pafs.FileSystem.from_uri(text)
            with file_system.open_output_stream(inner) as stream:
                stream.write(sink.getvalue())  # one upload, which appears when it is complete
        else:
            _write_local(Path(text).expanduser(), sink.getvalue())
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(f"{text} cannot be written ({error}): give a file in a folder that exists") from error


def check_form(table: pa.Table, kind: str, version: int, schema: pa.Schema, where: str, remedy: str) -> None:
    """Check that a table is what its reader knows.

    Args:
        table: what was read.
        kind: what the file says it is.
        version: version of the form.
        schema: columns and types, exactly.
        where: what messages call the file.
        remedy: what messages recommend.

    Raises:
        StateError: it is something else, or of another version or form.
    """
    metadata = table.schema.metadata or {}
    found, found_version = (metadata.get(key, b"nothing").decode() for key in (TABLE_KEY, VERSION_KEY))
    if found != kind:
        raise StateError(f"{where} is no table of {kind} (it says it is {found!r}): {remedy}")
    if found_version != str(version):
        raise StateError(
            f"{where} has version {found_version} of the tables of {kind}, this package reads version {version}: "
            f"{remedy}, or use the multinas-ray that wrote it"
        )
    if not table.schema.equals(schema):
        differing = sorted(set(table.schema) ^ set(schema), key=str)
        raise StateError(
            f"{where} has not the columns of a table of {kind}; these differ: "
            f"{', '.join(str(field) for field in differing)}. Restore a copy"
        )


def _write_local(file: Path, data: pa.Buffer) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
