"""Ray for the time of one call."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the time of a call: joins the one that RAY_ADDRESS or a running head node names, or starts one.

    One that was already running in this process is left running.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own progress view takes the place of Tune's
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # and our own record that of its files
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C ends the search in good order, see search/run.py
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)  # it misses those files
    was_running = ray.is_initialized()
    if not was_running:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    try:
        yield
    finally:
        if not was_running:
            ray.shutdown()
