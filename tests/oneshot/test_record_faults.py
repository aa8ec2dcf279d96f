"""Kills and refusals of the storage at any call of the system, and torn files, on the record of a search without Ray.

It is the part of tests/campaign that every check can afford; MULTINAS_FAULTS and MULTINAS_SEED make it longer.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from multinas_ray.errors import StorageError
from multinas_ray.oneshot import record as record_module
from multinas_ray.runs import load_run, verify_run
from tests.campaign.disks import cut_newest
from tests.oneshot.recorded_search import Crash, RecordedSearch
from tests.support.small_search import small_config

NUM_FAULTS, SEED = int(os.environ.get("MULTINAS_FAULTS", "24")), int(os.environ.get("MULTINAS_SEED", "0"))
IN_A_ROW, WARMUP_ROUNDS, SEARCH_ROUNDS = 4, 2, 8
CALLS = ("fsync", "replace", "write", "open", "unlink")
"""Functions of `os` by which files are made durable, renamed, written, opened and deleted."""
MOST_CALLS = 120
"""About as many of these calls as one session makes."""
TORN = ("evaluations", "rounds", "distributions", "state.json")


class FaultyCalls:
    """Counts calls of the system, and fails from one of them on, for a number of calls.

    Args:
        first: number of the first that fails.
        number: how many fail.
        error: what they raise.
        patch: takes the functions' places.
    """

    def __init__(self, first: int, number: int, error: Callable[[], BaseException], patch: pytest.MonkeyPatch) -> None:
        self.first, self.last, self.error, self.calls = first, first + number, error, 0
        for name in CALLS:
            patch.setattr(os, name, self._counted(getattr(os, name)))

    def _counted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.first <= self.calls < self.last:
                raise self.error()
            return original(*arguments, **named)

        return call


def fault_of(rng: np.random.Generator) -> tuple[str, int, Callable[[], BaseException]]:
    """Name, number of calls that fail, and what they raise."""
    if rng.random() < 0.5:
        return "killed", 10**9, Crash
    number = (errno.ENOSPC, errno.EROFS, errno.EIO)[int(rng.integers(3))]
    return os.strerror(number), int(rng.integers(1, 30)), lambda: OSError(number, os.strerror(number))


@pytest.mark.parametrize("row", range(-(-NUM_FAULTS // IN_A_ROW)))
def test_a_record_survives(row: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, told = np.random.default_rng((SEED, row)), []
    config = small_config(tmp_path, warmup_rounds=WARMUP_ROUNDS, search_rounds=SEARCH_ROUNDS)
    monkeypatch.setattr(record_module, "SNAPSHOT_INTERVAL_SECONDS", -1.0 if rng.random() < 0.5 else 60.0)
    path = Path(config.run_path)
    for _ in range(IN_A_ROW):
        name, number, error = fault_of(rng)
        first = int(rng.integers(1, MOST_CALLS))
        with monkeypatch.context() as patch:
            faulty = FaultyCalls(first, number, error, patch)
            try:
                run_session(config)
            except (Crash, StorageError):
                name += " and ended"
        if rng.random() < 0.5:
            kind = TORN[int(rng.integers(len(TORN)))]
            name += f", {kind} cut" if path.exists() and cut_newest(path, kind, 100) else ""
        told.append(f"{name} at call {first} of {faulty.calls}" if faulty.calls >= first else "missed")
        if (path / "finished.json").exists():
            break
    run_session(config)
    print(f"ROW {row}: {told}")
    run = load_run(path)
    assert run.is_finished, told
    assert run.evaluations["tell_order"].tolist() == list(range(number_of_rows(run.config))), told
    assert run.evaluations["id"].is_unique, told
    found = verify_run(path)
    assert found.holds, (told, found.summary())
    assert list(path.rglob("*.tmp*")) == [], told


def number_of_rows(config: dict[str, Any]) -> int:
    return SEARCH_ROUNDS * int(config["optimizer"]["samples_per_update"])


def run_session(config: Any) -> None:
    """Start the search, or go on with it."""
    path = Path(config.run_path)
    sessions = len(list(path.glob("sessions/*.json"))) if (path / "config.json").exists() else 0
    RecordedSearch(config, sessions).run().finish()
