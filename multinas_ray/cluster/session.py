"""Ray for the time of one call."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""Variables that Tune would hand from the driver to its trials, by way of Ray's log `runtime_env_agent.log`."""


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the time of a call: joins the one that RAY_ADDRESS or a running head node names, or starts one.

    One that was already running in this process is left running.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own progress view takes the place of Tune's
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # and our own record that of its files
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C ends the search in good order, see search/run.py
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(logging.ERROR)  # it misses those files
    ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)  # nodes have credentials of their own, or inherit a local Ray's
    was_running = ray.is_initialized()
    if not was_running:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    try:
        yield
    finally:
        if not was_running:
            ray.shutdown()
