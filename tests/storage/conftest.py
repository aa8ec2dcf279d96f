import os
import pathlib
import resource
import subprocess
from contextlib import contextmanager

import pytest

from multinas_ray.errors import MultiNASError, StorageError
from multinas_ray.storage import resolve
from tests.support.stores import place_in_memory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser mounts file systems and changes users")


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    """An empty folder on a local disk and in an object store."""
    return resolve(tmp_path) if request.param == "local" else place_in_memory("run")


@pytest.fixture
def mount(tmp_path):
    """Mounts small file systems; returns a function of mount's options that gives the folder."""
    mounted: list[pathlib.Path] = []

    def mount_at(options):
        folder = tmp_path / f"mount{len(mounted)}"
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("this container may not mount file systems")
        mounted.append(folder)
        return folder

    yield mount_at
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def limited(kind, value):
    """One of the system's limits (ulimit), which hold for any user: RLIMIT_FSIZE stops a write in the middle."""
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (value, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def told(reason, number, kind=StorageError):
    """What is raised is ours, a line with reason and remedy, and an OSError of this number."""
    with pytest.raises(kind) as raised:
        yield
    text = str(raised.value)
    assert f"({reason}): " in text
    assert "\n" not in text
    assert isinstance(raised.value, MultiNASError)
    assert isinstance(raised.value, OSError)
    assert raised.value.errno == number
