"""Folders on local disks and in object stores: creating, listing, replacing and deleting them."""

import contextlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs as pafs

from multinas_ray.errors import StorageError
from multinas_ray.storage.files import delete_file, exists, is_temporary, sync_folder, write_atomic
from multinas_ray.storage.places import AnyPath, Location, resolve
from multinas_ray.storage.system_errors import translated_errors


def make_folder(path: AnyPath) -> None:
    """Create a folder and its parents, durably; nothing happens where it exists.

    Raises:
        StorageError: The file system refused.
    """
    place = resolve(path)
    with translated_errors(place, "created"):
        if not place.is_local:
            file_system, inner = place.open()
            file_system.create_dir(inner, recursive=True)
            return
        folder = Path(place.path)
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for each in reversed(missing):
            sync_folder(each.parent)


def check_writable(path: AnyPath) -> None:
    """Make sure that files can be written below `path` and deleted again, creating the folder.

    Raises:
        StorageError: They cannot; the message names the reason.
    """
    place = resolve(path)
    make_folder(place)
    probe = place.join(f".write-test-{secrets.token_hex(4)}")
    try:
        write_atomic(probe, b"multinas_ray")
        delete_file(probe)
    except StorageError as error:
        raise StorageError(*error.args[:-1], str(error).replace(str(probe), str(place))) from error


def list_files(path: AnyPath, suffix: str) -> list[str]:
    """List the finished files of a folder.

    Args:
        path: The folder; one that does not exist holds no files.
        suffix: How the names end.

    Returns:
        Sorted names; hidden and temporary ones (first character `.` or `_`) are left out.

    Raises:
        StorageError: The folder cannot be read.
    """
    names = _names(resolve(path), pafs.FileType.File)
    return [name for name in names if name.endswith(suffix) and not name.startswith((".", "_"))]


def list_folders(path: AnyPath) -> list[str]:
    """List the folders in a folder, sorted; one that does not exist holds none. Raises as `list_files`."""
    return _names(resolve(path), pafs.FileType.Directory)


def delete_folder(path: AnyPath) -> None:
    """Delete a folder and all it holds; nothing happens where there is none.

    On a local disk the folder disappears at once: it is renamed to `.<name>.old` beside it and then deleted. If the
    process is killed in between, the hidden folder is left and the next call removes it.

    Raises:
        StorageError: The file system refused, or the path names something that is not a folder.
    """
    place = resolve(path)
    with translated_errors(place, "deleted"):
        if place.is_local:
            _delete_local(Path(place.path))
        elif exists(place):
            file_system, inner = place.open()
            file_system.delete_dir(inner)


def delete_leftovers(path: AnyPath) -> None:
    """Delete the temporary files that killed processes have left in a folder; an object store has none.

    Call it only where no other process writes.

    Raises:
        StorageError: The file system refused.
    """
    place = resolve(path)
    if not place.is_local:
        return
    with translated_errors(place, "deleted"):
        for file in Path(place.path).glob(".*.tmp"):
            if is_temporary(file.name):
                file.unlink(missing_ok=True)


@contextmanager
def replace_folder(path: AnyPath, *, last: str | None = None) -> Iterator[Path]:
    """Fill a folder with files; it takes the place of `path` when the context ends without an error.

    On a local disk a hidden folder beside it is filled, its files are synced, and it is renamed at the end. If the
    process is killed between the two renames, the old folder is left as `.<name>.old`. An object store has no folders
    to rename: the old files are deleted, and then each new file is uploaded.

    Args:
        path: The folder.
        last: Name of the file that is uploaded last. Once it is there, so are the others.

    Yields:
        A local folder to write files into, with no folders in it. An OSError that is raised there is translated into a
        StorageError of `path`.

    Raises:
        StorageError: The file system refused, or the path names something that is not a folder. On a local disk what
            was there is unchanged.
    """
    place = resolve(path)
    if not place.is_local:
        with tempfile.TemporaryDirectory() as temporary:
            with translated_errors(resolve(temporary), "written"):
                yield Path(temporary)
            _upload_folder(Path(temporary), place, last)
        return
    final = Path(place.path)
    partial, old = _beside(final, "partial"), _beside(final, "old")
    make_folder(place.parent)
    try:
        with translated_errors(place, "written"):
            _check_folder(final)
            _remove_tree(partial)  # of a process that was killed
            partial.mkdir()
            yield partial
            _sync_files(partial)
            _exchange(partial, final, old)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if final.exists():
            shutil.rmtree(old, ignore_errors=True)


def _names(place: Location, kind: pafs.FileType) -> list[str]:
    with translated_errors(place, "read"):
        file_system, inner = place.open()
        infos = file_system.get_file_info(pafs.FileSelector(inner, allow_not_found=True))
    return sorted(info.base_name for info in infos if info.type == kind)


def _delete_local(folder: Path) -> None:
    old, is_there = _beside(folder, "old"), _check_folder(folder)
    _remove_tree(old)  # of a process that was killed
    if is_there:
        folder.rename(old)
        sync_folder(folder.parent)
        shutil.rmtree(old)


def _check_folder(folder: Path) -> bool:
    """Whether a folder is there.

    Raises:
        StorageError: Something else is there, such as a symbolic link.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise StorageError(f"{folder} is not a folder, and only folders are replaced or deleted: give another name")
        return True
    return False


def _exchange(partial: Path, final: Path, old: Path) -> None:
    """Rename `partial` to `final`, which becomes `old`; on an error all is as it was."""
    if final.exists():
        _remove_tree(old)
        final.rename(old)
    try:
        partial.rename(final)
    except BaseException:
        if old.exists():
            old.rename(final)
        raise
    sync_folder(final.parent)


def _sync_files(folder: Path) -> None:
    for file in folder.iterdir():
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(folder)


def _upload_folder(folder: Path, place: Location, last: str | None) -> None:
    delete_folder(place)
    make_folder(place)
    for file in sorted(folder.iterdir(), key=lambda file: (file.name == last, file.name)):
        write_atomic(place.join(file.name), file.read_bytes())


def _beside(folder: Path, kind: str) -> Path:
    return folder.with_name(f".{folder.name}.{kind}")


def _remove_tree(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
