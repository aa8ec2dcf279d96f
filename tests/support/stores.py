"""An object store in memory, for what must work there too."""

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from pyarrow import fs as pafs

from multinas_ray.runs import sessions
from multinas_ray.storage import Location, places
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


class FakeBucket:
    """Takes the place of every bucket, and counts its uses by the thread that made them. It may refuse."""

    def __init__(self):
        self.file_system = pafs._MockFileSystem()
        self.file_system.create_dir("bucket")
        self.uses = []
        self.refuses = False

    def open(self, root, query):
        """In place of `places._open_store`."""
        self.uses.append(threading.current_thread().name)
        if self.refuses:
            raise OSError("NETWORK_CONNECTION")
        return self.file_system, "bucket"


@pytest.fixture
def bucket(monkeypatch):
    """A bucket for URIs such as s3://bucket/runs; drivers that begin do not wait for earlier ones."""
    fake = FakeBucket()
    monkeypatch.setattr(places, "_open_store", fake.open)
    monkeypatch.setattr(sessions, "STORE_WAIT_SECONDS", 0.0)
    return fake
