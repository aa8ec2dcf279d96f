"""What can befall a running search. A fault is a function of the search and a generator of random numbers."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil

from tests.support.search_process import SearchProcess

Fault = Callable[[SearchProcess, np.random.Generator], None]

PROCESSES = {
    "worker": "RayTrainWorker",
    "controller": "TrainController",
    "broker": "ray::Broker",
    "trial": "Trainable",
    "evaluator": "CandidateEvaluator",
    "raylet": "/raylet/raylet",
    "GCS": "gcs_server",
}
STOPPED_SECONDS = 10.0
TORN_BYTES = 100
FULL_SECONDS, READ_ONLY_SECONDS = 6.0, 4.0
KINDS_OF_FILES = (
    "evaluations",
    "rounds",
    "distributions",
    "checkpoints",
    "state.json",
    "supernet.pt",
    "candidates.parquet",
)


def kill(title: str) -> Fault:
    """SIGKILL of a process, if there is one at the moment."""

    def fault(search: SearchProcess, rng: np.random.Generator) -> None:
        found = search.processes(PROCESSES[title])
        if found:
            with suppress(psutil.NoSuchProcess):
                found[int(rng.integers(len(found)))].kill()

    return fault


def send(number: signal.Signals, times: int = 1, *, to_group: bool = False) -> Fault:
    """Signals to the driver, a second or more apart."""

    def fault(search: SearchProcess, rng: np.random.Generator) -> None:
        for each in range(times):
            if each:
                time.sleep(float(rng.uniform(1.0, 3.0)))
            with suppress(ProcessLookupError):
                (os.killpg if to_group else os.kill)(search.process.pid, number)

    return fault


def kill_all(search: SearchProcess, rng: np.random.Generator) -> None:
    """SIGKILL of the driver and all of its processes, as a machine that loses its power."""
    for each in search.family():
        with suppress(psutil.NoSuchProcess):
            each.kill()
    search.process.kill()


def stop_worker(search: SearchProcess, rng: np.random.Generator) -> None:
    """SIGSTOP of a worker, and SIGCONT some time later."""
    for each in search.processes(PROCESSES["worker"])[:1]:
        with suppress(psutil.NoSuchProcess):
            each.suspend()
            time.sleep(STOPPED_SECONDS)
            each.resume()


def tear(search: SearchProcess, rng: np.random.Generator) -> None:
    """SIGKILL of everything; then the newest file of a kind is cut, as a disk that lies about what it has written."""
    kill_all(search, rng)
    search.process.wait()
    kind = KINDS_OF_FILES[int(rng.integers(len(KINDS_OF_FILES)))]
    place = search.run_path / kind
    files = [place] if place.is_file() else [each for each in place.rglob("*") if each.is_file()]
    if kind == "evaluations":  # they are what cannot be computed again: only an unfinished line may be cut off
        files = [each for each in files if each.suffix == ".jsonl"]
    if files:
        newest = max(files, key=lambda each: each.stat().st_mtime)
        cut = 3 if kind == "evaluations" else TORN_BYTES
        os.truncate(newest, max(0, newest.stat().st_size - cut))


def fill(search: SearchProcess, rng: np.random.Generator) -> None:
    """The disk is full for some seconds."""
    hog = search.run_path.parent / "hog"
    with suppress(OSError), hog.open("wb") as stream:
        while True:
            stream.write(bytes(2**16))
            stream.flush()
    time.sleep(FULL_SECONDS)
    hog.unlink(missing_ok=True)


def make_read_only(search: SearchProcess, rng: np.random.Generator) -> None:
    """The file system refuses to write for some seconds, if it is one of its own."""
    storage = str(search.run_path.parent)
    subprocess.run(["mount", "-o", "remount,ro", storage], check=False, capture_output=True)
    time.sleep(READ_ONLY_SECONDS)
    subprocess.run(["mount", "-o", "remount,rw", storage], check=False, capture_output=True)


def twice(search: SearchProcess, rng: np.random.Generator) -> None:
    """A worker, and then the driver while the group is restarted."""
    kill("worker")(search, rng)
    time.sleep(float(rng.uniform(0.0, 5.0)))
    kill_driver(search, rng)


def kill_driver(search: SearchProcess, rng: np.random.Generator) -> None:
    """SIGKILL of the driver alone: its Ray notices."""
    search.process.kill()


FAULTS: dict[str, Fault] = {
    "kill driver": kill_driver,
    **{f"kill {title}": kill(title) for title in PROCESSES},
    "kill all": kill_all,
    "SIGTERM": send(signal.SIGTERM),
    "SIGINT": send(signal.SIGINT),
    "SIGTERM twice": send(signal.SIGTERM, 2),
    "SIGINT twice": send(signal.SIGINT, 2),
    "SIGTERM to the group": send(signal.SIGTERM, to_group=True),
    "SIGINT to the group": send(signal.SIGINT, to_group=True),
    "stop worker": stop_worker,
    "torn file": tear,
    "full disk": fill,
    "read-only disk": make_read_only,
    "kill worker and driver": twice,
}


@contextmanager
def disk_of_its_own(folder: Path) -> Iterator[bool]:
    """Mount a small file system on a folder; yields False where this is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=60m", "none", str(folder)]
    is_mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)
