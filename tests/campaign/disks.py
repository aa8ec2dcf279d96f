"""A small disk of its own, which can be full, refuse to write, or be slow."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

MEGABYTES = 120
FULL_SECONDS, READ_ONLY_SECONDS = 6.0, 4.0
SLOW_STEPS = 10


def is_done(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@contextmanager
def disk_of_its_own(folder: Path) -> Iterator[Path]:
    """Mount a small ext4 file system on a folder below this one; needs root. Yields its folder."""
    image, mounted = folder / "disk.img", folder / "disk"
    folder.mkdir(parents=True, exist_ok=True)
    mounted.mkdir(exist_ok=True)
    with image.open("wb") as stream:
        stream.truncate(MEGABYTES * 2**20)
    assert is_done("mkfs.ext4", "-q", "-m", "0", str(image))
    assert is_done("mount", "-o", "loop", str(image), str(mounted))
    try:
        yield mounted
    finally:
        is_done("umount", "-l", str(mounted))
        image.unlink()


def fill(disk: Path, rng: np.random.Generator) -> None:
    """It is full for some seconds."""
    hog = disk / "hog"
    with suppress(OSError), hog.open("wb", buffering=0) as stream:
        size = 2**20
        while size:
            try:
                stream.write(bytes(size))
            except OSError:
                size //= 16
    time.sleep(FULL_SECONDS)
    hog.unlink(missing_ok=True)


def make_read_only(disk: Path, rng: np.random.Generator) -> None:
    """It refuses to write for some seconds; where files are open, it refuses all but what is written to these."""
    if is_done("mount", "-o", "remount,ro", str(disk)):
        time.sleep(READ_ONLY_SECONDS)
        assert is_done("mount", "-o", "remount,rw", str(disk))
        return
    is_done("chattr", "-R", "+i", str(disk))
    time.sleep(READ_ONLY_SECONDS)
    assert is_done("chattr", "-R", "-i", str(disk))


def slow_down(disk: Path, rng: np.random.Generator) -> None:
    """It stands still for up to two seconds, and again and again."""
    for _ in range(SLOW_STEPS):
        is_done("fsfreeze", "-f", str(disk))
        time.sleep(float(rng.uniform(0.3, 2.0)))
        is_done("fsfreeze", "-u", str(disk))
        time.sleep(0.1)


def cut_newest(folder: Path, kind: str, num_bytes: int) -> bool:
    """Cut the newest of the files of a name, or in folders of this name. Returns whether there is one."""
    files = [each for each in folder.rglob("*") if each.is_file() and kind in each.relative_to(folder).parts]
    if kind == "evaluations":  # they are what cannot be computed again: only an unfinished line may be cut off
        files, num_bytes = [each for each in files if each.suffix == ".jsonl"], 3
    if not files:
        return False
    newest = max(files, key=lambda each: each.stat().st_mtime)
    os.truncate(newest, max(0, newest.stat().st_size - num_bytes))
    return True
