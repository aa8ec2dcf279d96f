"""Ray for the duration of one call."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""Variables that Tune would pass from the driver to its trials, and that Ray would write to `runtime_env_agent.log`."""


@contextmanager
def ray_session() -> Iterator[None]:
    """Ray for the duration of a call: joins the cluster of RAY_ADDRESS or of a running head node, or starts one.

    If Ray was already running in this process, it is left running.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own progress view takes the place of Tune's
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # and our own record that of Tune's files
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # the search ends itself in good order at Ctrl-C
    logging.getLogger("ray.tune.analysis.experiment_analysis").setLevel(
        logging.ERROR
    )  # it warns that Tune's files are missing
    ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)  # nodes have credentials of their own, or inherit a local Ray's
    was_running = ray.is_initialized()
    if not was_running:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    try:
        yield
    finally:
        if not was_running:
            ray.shutdown()
