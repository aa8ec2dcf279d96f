"""What Ray says at every start and nobody needs twice."""

from __future__ import annotations

import functools
import logging
from typing import Any

from ray._private import worker as ray_worker

TOKEN_LOGGER = "ray._private.authentication.authentication_token_setup"
TOKEN_IS_USED = "Token authentication is enabled"
"""How Ray greets every start on this machine; docs/trust.md says what the token is for. That a cluster has none is
still told."""

TOLD_IN_A_LINE = {
    "ray.tune.execution.tune_controller": logging.CRITICAL + 1,  # a trace of each trial that failed
    "ray.tune.execution.experiment_state": logging.CRITICAL + 1,  # a trace where the disk of its own state refuses
    "ray.tune.analysis.experiment_analysis": logging.ERROR,  # it warns that Tune's files are missing
}
"""Loggers, and the level below which they are silent: a search tells its end and the cause itself."""


def leave_out_the_greeting() -> None:
    """Leave out Ray's warning that it asks for a token, which is how it should be."""
    logger = logging.getLogger(TOKEN_LOGGER)
    if _is_news not in logger.filters:
        logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(TOKEN_IS_USED)


def leave_out_what_is_told_in_a_line() -> None:
    """Leave out traces of Tune, which stand where a search, or its error, tells the same in one line."""
    for name, level in TOLD_IN_A_LINE.items():
        logging.getLogger(name).setLevel(level)


def shorten_what_ray_tells() -> None:
    """Let Ray tell in a line that one of its processes is gone, without the last twenty of its log."""
    original = ray_worker.print_to_stdstream
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def shortened(data: dict[str, Any], ignore_prefix: bool) -> None:
        if data.get("pid") == "raylet":
            data = {**data, "lines": [line.partition("\n")[0] for line in data["lines"]]}
        original(data, ignore_prefix)

    ray_worker.print_to_stdstream = shortened
