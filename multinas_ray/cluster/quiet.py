"""What Ray says at every start and nobody needs twice."""

from __future__ import annotations

import logging

TOKEN_LOGGER = "ray._private.authentication.authentication_token_setup"
TOKEN_IS_USED = "Token authentication is enabled"
"""How Ray greets every start on this machine; docs/trust.md says what the token is for. That a cluster has none is
still told."""


def leave_out_the_greeting() -> None:
    """Leave out Ray's warning that it asks for a token, which is how it should be."""
    logger = logging.getLogger(TOKEN_LOGGER)
    if _is_news not in logger.filters:
        logger.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(TOKEN_IS_USED)
