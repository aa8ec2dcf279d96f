"""What can befall a running command. A fault returns whether it has befallen."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import psutil

from tests.campaign.disks import cut_newest, fill, make_read_only, slow_down
from tests.campaign.processes import Command, descendants

Fault = Callable[[Command, np.random.Generator], bool]

PROCESSES = {
    "worker": "RayTrainWorker",
    "broker": "ray::Broker",
    "trial": "Trainable",
    "evaluator": "CandidateEvaluator",
    "raylet": "/raylet/raylet",
    "GCS": "gcs_server",
}
LATER_WORKER = "RayTrainWorker|CandidateEvaluator|ImplicitFunc"
"""Who works after the search: for several machines, for a choice, and for a training on one."""
TORN_BYTES = 100
KINDS_OF_FILES = (
    "evaluations",
    "rounds",
    "distributions",
    "checkpoints",
    "state.json",
    "supernet.pt",
    "candidates.parquet",
)
"""Of a search."""
LATER_FILES = (
    "scores_journal.jsonl",
    "retrained.pt",
    "checkpoint.pt",
    "training.parquet",
    "retraining.json",
    "model.pt2",
)
"""Of what follows it."""


def kill(title: str) -> Fault:
    """SIGKILL of a process, as soon as there is one."""

    def fault(command: Command, rng: np.random.Generator) -> bool:
        while not command.has_ended:
            if found := command.processes(title):
                with suppress(psutil.NoSuchProcess):
                    found[int(rng.integers(len(found)))].kill()
                    return True
            time.sleep(0.1)
        return False

    return fault


def send(number: signal.Signals, times: int = 1, *, to_group: bool = False) -> Fault:
    """Signals to the driver, a second or more apart."""

    def fault(command: Command, rng: np.random.Generator) -> bool:
        if command.has_ended:
            return False
        for each in range(times):
            if each:
                time.sleep(float(rng.uniform(1.0, 3.0)))
            if not command.has_ended:
                with suppress(ProcessLookupError):
                    (os.killpg if to_group else os.kill)(command.process.pid, number)
        return True

    return fault


def kill_all(command: Command, rng: np.random.Generator) -> bool:
    """SIGKILL of everything, as when a machine loses its power."""
    is_running = not command.has_ended
    for each in descendants():
        with suppress(psutil.NoSuchProcess):
            each.kill()
    command.process.wait()
    return is_running


def kill_driver(command: Command, rng: np.random.Generator) -> bool:
    """SIGKILL of the driver alone: its Ray notices."""
    is_running = not command.has_ended
    command.process.kill()
    return is_running


def kill_group(command: Command, rng: np.random.Generator) -> bool:
    return send(signal.SIGKILL, to_group=True)(command, rng)


def stop(title: str) -> Fault:
    """SIGSTOP of a process, and SIGCONT up to 20 s later."""

    def fault(command: Command, rng: np.random.Generator) -> bool:
        while not command.has_ended:
            for each in command.processes(title)[:1]:
                with suppress(psutil.NoSuchProcess):
                    each.suspend()
                    time.sleep(float(rng.uniform(5.0, 20.0)))
                    each.resume()
                    return True
            time.sleep(0.1)
        return False

    return fault


def tear(*kinds: str) -> Fault:
    """SIGKILL of everything; then the newest file of a kind is cut, as by a disk that lies about what it wrote."""

    def fault(command: Command, rng: np.random.Generator) -> bool:
        kill_all(command, rng)
        return any(cut_newest(command.folder, kinds[place], TORN_BYTES) for place in rng.permutation(len(kinds)))

    return fault


def of_the_disk(befall: Callable[..., None]) -> Fault:
    def fault(command: Command, rng: np.random.Generator) -> bool:
        is_running = not command.has_ended
        befall(command.disk, rng)
        return is_running

    return fault


FAULTS: dict[str, Fault] = {
    "kill driver": kill_driver,
    **{f"kill {name}": kill(title) for name, title in PROCESSES.items()},
    "kill all": kill_all,
    "SIGKILL to the group": kill_group,
    "SIGTERM": send(signal.SIGTERM),
    "SIGINT": send(signal.SIGINT),
    "SIGTERM twice": send(signal.SIGTERM, 2),
    "SIGINT twice": send(signal.SIGINT, 2),
    "SIGTERM to the group": send(signal.SIGTERM, to_group=True),
    "SIGINT to the group": send(signal.SIGINT, to_group=True),
    "SIGINT twice to the group": send(signal.SIGINT, 2, to_group=True),
    "stop worker": stop(PROCESSES["worker"]),
    "torn file": tear(*KINDS_OF_FILES),
    "full disk": of_the_disk(fill),
    "read-only disk": of_the_disk(make_read_only),
    "slow disk": of_the_disk(slow_down),
}
OF_SEARCHES = ("kill broker", "kill trial", "kill evaluator")
LATER_FAULTS: dict[str, Fault] = {
    **{name: fault for name, fault in FAULTS.items() if name not in OF_SEARCHES},
    "kill worker": kill(LATER_WORKER),
    "stop worker": stop(LATER_WORKER),
    "torn file": tear(*LATER_FILES),
}
"""After the search."""
