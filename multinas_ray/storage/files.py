"""Files on local disks and in object stores: reading, deleting, and writing them completely or not at all."""

import contextlib
import errno
import io
import mmap
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import fs as pafs

from multinas_ray.errors import FileTakenError, StorageError, UnreadableError
from multinas_ray.storage.places import AnyPath, Location, resolve
from multinas_ray.storage.system_errors import translated_errors

_BUFFER_BYTES = 2**20
_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp")
_OTHER_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFBLK: "device",
    stat.S_IFCHR: "device",
    stat.S_IFIFO: "named pipe",
    stat.S_IFSOCK: "socket",
}


def write_atomic(path: AnyPath, data: bytes | pa.Buffer, *, overwrite: bool = True) -> None:
    """Write a whole file so that it is durable on return and readers see the old or the new content only.

    On a local disk the content goes into a hidden temporary file beside the file; that is synced and renamed, and the
    folder is synced. In an object store it is one upload, which becomes visible when it is complete. The folder must
    exist (object stores have none). If the path is a symbolic link, the link stays and its target is written. A folder,
    device, pipe or socket is never replaced.

    Args:
        path: The file. One that is replaced keeps its access rights.
        data: Its whole content.
        overwrite: False refuses to replace a file.

    Raises:
        FileTakenError: `overwrite` is False and the file exists. (On object stores this is looked up before
            the upload, so it does not guard against a writer at the same moment.)
        StorageError: The file system refused, or the path names something that is not a regular file. What was there
            is unchanged, and no temporary file is left.
        ConfigError: The path or URI is not well formed. All functions of this package raise this error.
    """
    place = resolve(path)
    if place.is_local:
        with _new_local_file(place, overwrite) as stream:
            stream.write(data)
    else:
        _upload(place, data, overwrite)


@contextmanager
def open_atomic(path: AnyPath) -> Iterator[BinaryIO]:
    """Write a large file piece by piece; it appears, or replaces the old one, when the context ends without an error.

    The guarantees and errors are those of `write_atomic`. For an object store the content is first gathered in a
    temporary file on this machine.

    Yields:
        The stream to write to.
    """
    place = resolve(path)
    if place.is_local:
        with _new_local_file(place, overwrite=True) as stream:
            yield stream
        return
    temporary_folder = resolve(tempfile.gettempdir())
    with contextlib.ExitStack() as stack:
        with translated_errors(temporary_folder, "written"):
            gathered = stack.enter_context(tempfile.TemporaryFile())
        with _NamedFile(temporary_folder, os.dup(gathered.fileno())).buffered() as stream:
            yield stream
        if os.fstat(gathered.fileno()).st_size == 0:
            _upload(place, b"", overwrite=True)
            return
        with mmap.mmap(gathered.fileno(), 0, access=mmap.ACCESS_READ) as content:
            _upload(place, content, overwrite=True)


def exists(path: AnyPath) -> bool:
    """Return whether a file or folder exists.

    Raises:
        StorageError: The file system refused.
    """
    place = resolve(path)
    with translated_errors(place, "read"):
        file_system, inner = place.open()
        return bool(file_system.get_file_info(inner).type != pafs.FileType.NotFound)


def read_bytes(path: AnyPath) -> bytes:
    """Read a whole file.

    Raises:
        UnreadableError: It is missing, cannot be read, or is a device or a pipe, which may have no end.
    """
    place = resolve(path)
    with translated_errors(place, "read", UnreadableError):
        if place.is_local:
            _check_has_end(Path(place.path))
        file_system, inner = place.open()
        with file_system.open_input_stream(inner) as stream:
            return bytes(stream.read())


def delete_file(path: AnyPath) -> None:
    """Delete a file or a symbolic link; nothing happens where there is none.

    Raises:
        StorageError: The file system refused, or the path names something other than a file.
    """
    place = resolve(path)
    with translated_errors(place, "deleted"):
        if place.is_local:
            file = Path(place.path)
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                _check_kind(file, file.lstat().st_mode, stat.S_IFREG, stat.S_IFLNK)
                file.unlink()
        elif exists(place):
            file_system, inner = place.open()
            file_system.delete_file(inner)


def is_temporary(name: str) -> bool:
    """Whether a file has the name that `write_atomic` and `open_atomic` give to one that is not complete."""
    return _TEMPORARY.fullmatch(name) is not None


def sync_folder(folder: Path) -> None:
    """Make a new name in a local folder durable; file systems that cannot sync a folder are left to themselves."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _NamedFile(io.FileIO):
    """A file whose write errors are errors of this package and name the place that the caller gave."""

    def __init__(self, place: Location, file: Path | int) -> None:
        super().__init__(file, "xb" if isinstance(file, Path) else "wb")
        self._place = place
        self._error: StorageError | None = None

    def write(self, data: Any) -> int:
        """Write as any file does, and keep a refusal of the system."""
        try:
            with translated_errors(self._place, "written"):
                return super().write(data)
        except StorageError as error:
            self._error = error
            raise

    @contextmanager
    def buffered(self) -> Iterator[BinaryIO]:
        """A stream that writes into the file and closes it at the end.

        After a write error the caller may raise an error of its own, as torch does. The write error is raised in its
        place.
        """
        try:
            with io.BufferedWriter(self, _BUFFER_BYTES) as stream:
                yield stream
        except Exception as error:  # the caller may raise anything after a write error
            if self._error in (None, error):
                raise
            raise self._error from error


@contextmanager
def _new_local_file(place: Location, overwrite: bool) -> Iterator[BinaryIO]:
    with translated_errors(place, "written"):
        file, rights = _replaceable(Path(place.path))
        temporary = file.with_name(f".{secrets.token_hex(8)}.tmp")  # short, however long the file's own name is
        raw = _NamedFile(place, temporary)
    try:
        with raw.buffered() as stream:
            yield stream
            stream.flush()
            with translated_errors(place, "written"):
                if rights is not None:
                    os.fchmod(raw.fileno(), rights)
                os.fsync(raw.fileno())
        with translated_errors(place, "written"):
            if overwrite:
                temporary.replace(file)
            else:
                _move_new(temporary, file)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(file.parent)


def _replaceable(file: Path) -> tuple[Path, int | None]:
    """The file that a path or symbolic link leads to, and its access rights, None where it is not there.

    Raises:
        StorageError: It is no regular file.
    """
    rights = None
    with contextlib.suppress(FileNotFoundError):
        mode = file.stat().st_mode
        _check_kind(file, mode, stat.S_IFREG)
        rights = stat.S_IMODE(mode)
    return (file.resolve() if file.is_symlink() else file), rights


def _check_kind(file: Path, mode: int, *allowed: int) -> None:
    if (kind := stat.S_IFMT(mode)) not in allowed:
        raise StorageError(
            f"{file} is a {_OTHER_KINDS.get(kind, 'special file')}, and only regular files are replaced or deleted: "
            "give another name"
        )


def _check_has_end(file: Path) -> None:
    try:
        kind = stat.S_IFMT(file.stat().st_mode)
    except OSError:  # told by who opens it
        return
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise UnreadableError(
            f"{file} is a {_OTHER_KINDS.get(kind, 'special file')}, and only regular files are read: give another name"
        )


def _move_new(temporary: Path, file: Path) -> None:
    """Give the temporary file its name, which must be free."""
    try:
        file.hardlink_to(temporary)
    except FileExistsError as error:
        raise _taken(Location(str(file))) from error
    except OSError as error:  # no hard links on this file system: look, then rename
        if file.exists():
            raise _taken(Location(str(file))) from error
        temporary.replace(file)
        return
    temporary.unlink()


def _taken(place: Location) -> FileTakenError:
    return FileTakenError(errno.EEXIST, f"{place} exists already: delete it, or choose another name")


def _upload(place: Location, data: bytes | pa.Buffer | mmap.mmap, overwrite: bool) -> None:
    if not overwrite and exists(place):
        raise _taken(place)
    with translated_errors(place, "written"):
        file_system, inner = place.open()
        with file_system.open_output_stream(inner) as stream:
            stream.write(data)  # at once, so that an interrupt leaves all or nothing
