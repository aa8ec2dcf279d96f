"""Files of a run, on local disks and object stores alike, through pyarrow.fs.

Whole files only: a file is written under its final name at once or not at all, so a reader never meets half
a file.
"""

import contextlib
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import fs as pafs

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.storage.uris import refuse_credentials


class Location(NamedTuple):
    """A place on a file system."""

    fs: Any
    """A `pyarrow.fs.FileSystem`."""

    path: str
    """The path on it, without the URI's scheme."""

    def join(self, *names: str) -> "Location":
        """Return the place of `names` below this one."""
        return Location(self.fs, "/".join([self.path.rstrip("/"), *names]))

    def __str__(self) -> str:
        return self.path if _is_local(self.fs) else f"{self.fs.type_name}://{self.path}"


AnyPath = str | os.PathLike[str] | Location


def resolve(path: AnyPath) -> Location:
    """Turn a path or URI into a file system and a path on it.

    Args:
        path: Local path (`~` is the home folder), a URI that pyarrow.fs knows (`s3://`, `gs://`, `file://`),
            or a `Location`, which comes back unchanged.

    Returns:
        File system and path; it also unpacks as the pair (fs, path).

    Raises:
        ConfigError: pyarrow.fs cannot serve the URI, it names no folder, or it holds credentials.
    """
    if isinstance(path, Location):
        return path
    text = os.fspath(path)
    if "://" not in text:
        return Location(pafs.LocalFileSystem(), str(Path(text).expanduser().absolute()))
    refuse_credentials(text)
    shown = text.partition("?")[0]
    try:
        file_system, inner = pafs.FileSystem.from_uri(text)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ConfigError(
            f"{shown!r} cannot be opened ({error}): use a local path, file://, s3://bucket/folder or "
            "gs://bucket/folder, and check the credentials in the environment"
        ) from error
    if not inner.strip("/"):
        raise ConfigError(f"{shown!r} names no bucket or folder: add one, such as s3://bucket/folder")
    return Location(file_system, inner)


def below(path: str, *names: str) -> str:
    """The path of `names` below a folder, both as text; a URI's query (`?endpoint_override=...`) stays at its end."""
    folder, query = _without_query(path)
    return "/".join([folder.rstrip("/"), *names]) + query


def parent(path: str) -> str:
    """The path of the folder that something lies in, both as text."""
    folder, query = _without_query(path)
    return folder.rstrip("/").rpartition("/")[0] + query


def name_of(path: str) -> str:
    """The last name of a path or URI."""
    return _without_query(path)[0].rstrip("/").rpartition("/")[2]


def _without_query(path: str) -> tuple[str, str]:
    """A path and a URI's query with its question mark, which is an ordinary character in local names."""
    folder, mark, query = path.partition("?") if "://" in path else (path, "", "")
    return folder, mark + query


def write_atomic(path: AnyPath, data: bytes | pa.Buffer, *, overwrite: bool = True) -> None:
    """Write a whole file so that it is durable on return and readers see the old or the new content only.

    Local disks: a hidden temporary file beside it, fsync, rename, fsync of the folder. Object stores: one
    upload, which becomes visible when it is complete. The folder must exist (object stores have none).

    Args:
        path: The file.
        data: Its whole content.
        overwrite: False refuses to replace a file.

    Raises:
        FileExistsError: `overwrite` is False and the file exists. (On object stores this is looked up before
            the upload, so it does not guard against a writer in the same instant.)
        OSError: The file system refused; the file is as it was.
    """
    place = resolve(path)
    if _is_local(place.fs):
        _write_local(Path(place.path), data, overwrite)
        return
    if not overwrite and place.fs.get_file_info(place.path).type != pafs.FileType.NotFound:
        raise FileExistsError(f"{place} exists")
    with place.fs.open_output_stream(place.path) as stream:
        stream.write(data)


def make_folder(path: AnyPath) -> None:
    """Create a folder and its parents; nothing happens where it exists."""
    place = resolve(path)
    place.fs.create_dir(place.path, recursive=True)


def check_writable(path: AnyPath) -> None:
    """Make sure that files can be written below `path`, creating the folder.

    Raises:
        ConfigError: They cannot; the message names the reason.
    """
    place = resolve(path)
    probe = place.join(f".write-test-{secrets.token_hex(4)}")
    try:
        make_folder(place)
        write_atomic(probe, b"multinas_ray")
        probe.fs.delete_file(probe.path)
    except (OSError, pa.ArrowException) as error:
        raise ConfigError(
            f"{place} is not writable ({error}): choose another storage_path, or give this user (or these "
            "credentials) the right to write and delete there"
        ) from error


def exists(path: AnyPath) -> bool:
    """Tell whether a file or folder is there."""
    place = resolve(path)
    return bool(place.fs.get_file_info(place.path).type != pafs.FileType.NotFound)


def read_bytes(path: AnyPath) -> bytes:
    """Read a whole file.

    Raises:
        StateError: It is not there or cannot be read.
    """
    place = resolve(path)
    try:
        with place.fs.open_input_stream(place.path) as stream:
            return bytes(stream.read())
    except (OSError, pa.ArrowException) as error:
        raise StateError(f"{place} cannot be read ({error}): check that the file is there") from error


def list_files(path: AnyPath, suffix: str) -> list[str]:
    """List the finished files of a folder.

    Args:
        path: The folder; one that does not exist holds no files.
        suffix: How the names end.

    Returns:
        Sorted names; hidden and temporary ones (first character `.` or `_`) are left out.
    """
    place = resolve(path)
    infos = place.fs.get_file_info(pafs.FileSelector(place.path, allow_not_found=True))
    names = [info.base_name for info in infos if info.type == pafs.FileType.File]
    return sorted(name for name in names if name.endswith(suffix) and not name.startswith((".", "_")))


def list_folders(path: AnyPath) -> list[str]:
    """List the folders in a folder, sorted; one that does not exist holds none."""
    place = resolve(path)
    infos = place.fs.get_file_info(pafs.FileSelector(place.path, allow_not_found=True))
    return sorted(info.base_name for info in infos if info.type == pafs.FileType.Directory)


def delete_file(path: AnyPath) -> None:
    """Delete a file; nothing happens where there is none."""
    place = resolve(path)
    if exists(place):
        place.fs.delete_file(place.path)


def delete_folder(path: AnyPath) -> None:
    """Delete a folder and all it holds; nothing happens where there is none.

    On local disks it goes at once: it is first renamed to `.<name>.old` beside it, which is what a kill may leave.
    """
    place = resolve(path)
    if not exists(place):
        return
    if _is_local(place.fs):
        folder = Path(place.path)
        old = folder.with_name(f".{folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        place = Location(place.fs, str(folder.rename(old)))
    place.fs.delete_dir(place.path)


def _is_local(file_system: Any) -> bool:
    return isinstance(file_system, pafs.LocalFileSystem)


def _write_local(file: Path, data: bytes | pa.Buffer, overwrite: bool) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        if overwrite:
            temporary.replace(file)
        else:
            _move_new(temporary, file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(file.parent)


def _move_new(temporary: Path, file: Path) -> None:
    """Give the temporary file its name, which must be free."""
    try:
        file.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # no hard links on this file system: look, then rename
        if file.exists():
            raise FileExistsError(f"{file} exists") from None
        temporary.replace(file)
        return
    temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; file systems that cannot sync a folder are left to themselves."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
