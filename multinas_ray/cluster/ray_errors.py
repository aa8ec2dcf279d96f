"""The errors of Ray in one line each: what has happened, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.tune import TuneError

from multinas_ray.errors import MultiNASError, RunError, last_line

_MEMORY = ("OutOfMemory", "memory pressure", "OOM", "low on memory")


@contextmanager
def ray_errors_told(remedy: str) -> Iterator[None]:
    """Turn the errors of Ray that come out of a search into those of this package.

    Args:
        remedy: what goes on with what was recorded.

    Raises:
        RunError: in place of an error of Ray. An error of this package that caused it is raised itself.
    """
    try:
        yield
    except (ray.exceptions.RayError, TuneError, ConnectionError) as error:
        for cause in _causes(error):
            if isinstance(cause, MultiNASError):
                raise cause from error
        raise RunError(f"{_what_happened(error)}: {remedy}") from error


def _what_happened(error: BaseException) -> str:
    causes = list(_causes(error))
    text = " ".join(str(cause) for cause in causes)
    if any(word in text for word in _MEMORY):
        return "Ray ended a process of the search for lack of memory (use a smaller batch_size or fewer workers)"
    if any(isinstance(cause, ray.exceptions.RayActorError) for cause in causes):
        return "a process of the search was ended from outside, or its node is gone"
    if any(isinstance(cause, ray.exceptions.GetTimeoutError) for cause in causes):
        return "a process of the search does not answer"
    return f"Ray failed ({last_line(causes[-1])})"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, one after the other."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or getattr(current, "cause", None) or current.__context__
