"""What Ray says at every start. Ray is not started."""

import logging

import pytest
from ray._private.authentication import authentication_token_setup as setup

from multinas_ray.cluster.quiet import TOKEN_LOGGER, leave_out_the_greeting


def test_the_token_does_not_greet_every_start_but_its_lack_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert setup.logger.name == TOKEN_LOGGER
    monkeypatch.setattr(setup.logger, "filters", [])  # another test may have left the greeting out
    for name in ("ray", "ray._private"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    setup._warn_token_auth_enabled()
    assert caplog.records, "Ray still says it, in these words"
    caplog.clear()
    leave_out_the_greeting()
    leave_out_the_greeting()
    setup._warn_token_auth_enabled()
    assert caplog.records == []
    setup._warn_token_auth_disabled()
    assert caplog.records
    assert len(setup.logger.filters) == 1
