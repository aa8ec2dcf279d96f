"""What Tune tells no searcher: found in the calls that lead to it, since Ray 2.60 has no other way.

A searcher is told neither the experiment's folder, nor whether the experiment is resumed, nor whether a
`ConcurrencyLimiter` batches.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from ray.tune.search import ConcurrencyLimiter
from ray.tune.tune import run

from multinas_ray.storage import resolve


@dataclass(frozen=True)
class CallingExperiment:
    """The experiment in which Tune is calling."""

    folder: str | None
    """`<storage_path>/<name>`, a path or URI; None if the user gave a file system of pyarrow, which has no name."""
    is_resumed: bool
    """Whether it is resumed, by `Tuner.restore` or `tune.run(resume=...)`."""


def calling_experiment() -> CallingExperiment | None:
    """The experiment in which Tune is calling; None if it is not Tune that calls."""
    for frame in _callers():
        if frame.f_code is run.__code__:
            known = frame.f_locals
            storage, path = known["experiments"][0].storage, known["storage_path"]
            folder = None
            if storage.storage_filesystem.type_name == "local":
                folder = storage.experiment_fs_path
            elif path is not None and not storage.custom_fs_provided:
                folder = str(resolve(str(path)).join(storage.experiment_dir_name))
            return CallingExperiment(folder, known["resume_config"] is not None or bool(known["resume"]))
    return None


def limiter_batches() -> bool:
    """Whether the `ConcurrencyLimiter` that is calling waits for whole batches."""
    for frame in _callers():
        owner = frame.f_locals.get("self")
        if isinstance(owner, ConcurrencyLimiter):
            return owner.batch
    return False


def _callers() -> Iterator[FrameType]:
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back
