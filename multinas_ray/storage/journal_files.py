"""A file of lines that are appended to it, each completely or not at all."""

import json
import os
import weakref
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from multinas_ray.errors import StateError, StorageError
from multinas_ray.storage.files import delete_file, sync_folder
from multinas_ray.storage.places import Location
from multinas_ray.storage.system_errors import translated_errors


class JournalFile:
    """A file to which lines are appended, each completely or not at all.

    Raises:
        StateError: The file exists: another writer is at work.
        StorageError: The file system refused.
    """

    def __init__(self, place: Location, header: Mapping[str, Any]) -> None:
        self._place, self._size_bytes = place, 0
        with translated_errors(place, "written"):
            try:
                self._descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o666)
            except FileExistsError as error:
                raise StateError(
                    f"{place} appeared while this writer was at work: another search records into the same folder; "
                    "give each its own record_path"
                ) from error
        self.close = weakref.finalize(self, os.close, self._descriptor)
        try:
            self.write(header)
        except StorageError:
            self.close()
            delete_file(place)
            raise
        sync_folder(Path(place.path).parent)

    def write(self, content: Mapping[str, Any], sync: bool = True) -> None:
        """Append a line, and sync it and those before it to the disk if asked to.

        Raises:
            StorageError: The file system refused.
        """
        text = json.dumps(content, separators=(",", ":")).encode()
        data = b"%08x %b\n" % (zlib.crc32(text), text)
        with translated_errors(self._place, "written"):
            self._cut_off()
            try:
                self._append(data)
                if sync:
                    os.fsync(self._descriptor)
            except BaseException:
                self._cut_off()
                raise
        self._size_bytes += len(data)

    def _append(self, data: bytes) -> None:
        while data:  # when the disk becomes full, the system first writes a part and then raises
            data = data[os.write(self._descriptor, data) :]

    def _cut_off(self) -> None:
        """Remove what was written of a line that was not kept."""
        if os.fstat(self._descriptor).st_size > self._size_bytes:
            os.ftruncate(self._descriptor, self._size_bytes)
