"""An object store in memory, for what must work there too."""

from dataclasses import dataclass, field
from typing import Any

from pyarrow import fs as pafs

from multinas_ray.storage import Location
from multinas_ray.storage.places import ObjectStore


@dataclass(frozen=True)
class MemoryStore(ObjectStore):
    """A bucket of pyarrow's file system in memory."""

    root: str = "memory://bucket"
    file_system: Any = field(default_factory=pafs._MockFileSystem, compare=False)

    def open(self):
        """The file system and its only bucket."""
        return self.file_system, "bucket"


def place_in_memory(path: str = "") -> Location:
    """A folder in a bucket of its own."""
    store = MemoryStore()
    store.file_system.create_dir(f"bucket/{path}")
    return Location(path, store)
