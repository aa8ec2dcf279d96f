"""The errors of Ray that come out of a search, in one line each: what has happened, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.tune import TuneError

from multinas_ray.cluster.failures import cause_of, own_error
from multinas_ray.errors import RunError


@contextmanager
def ray_errors_told(remedy: str) -> Iterator[None]:
    """Turn the errors of Ray into those of this package.

    Args:
        remedy: what goes on with what was recorded.

    Raises:
        RunError: in place of an error of Ray. An error of this package that caused it is raised itself.
    """
    try:
        yield
    except (ray.exceptions.RayError, TuneError, ConnectionError, RuntimeError) as error:
        # Tune raises a RuntimeError from what it does not expect, such as a trial that was ended for lack of memory
        if type(error) is RuntimeError and not isinstance(error.__cause__, ray.exceptions.RayError):
            raise
        if (own := own_error(error)) is not None:
            raise own from error
        raise RunError(f"the search could not go on ({cause_of(error)}): {remedy}") from error
