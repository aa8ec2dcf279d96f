"""A small Ray of this process, for tests that are not about how Ray is started."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from multinas_ray.cluster import end_log_monitor


@contextmanager
def local_ray(**settings: Any) -> Iterator[None]:
    """A Ray of two CPUs with further settings of `ray.init`, ended with the block."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **settings)
    try:
        end_log_monitor()
        yield
    finally:
        ray.shutdown()
