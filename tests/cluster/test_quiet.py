"""What Ray says at every start. Ray is not started."""

import logging

import pytest
from ray._private import worker as ray_worker
from ray._private.authentication import authentication_token_setup as setup
from ray.tune.analysis import experiment_analysis
from ray.tune.execution import experiment_state, tune_controller

from multinas_ray.cluster.quiet import (
    TOKEN_LOGGER,
    TOLD_IN_A_LINE,
    leave_out_the_greeting,
    leave_out_what_is_told_in_a_line,
    shorten_what_ray_tells,
)


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


def test_traces_of_trials_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    loggers = {each.logger.name: each.logger for each in (experiment_analysis, experiment_state, tune_controller)}
    assert {*loggers} == {*TOLD_IN_A_LINE}, "these are the names that Ray gives them"
    before = {name: each.level for name, each in loggers.items()}
    leave_out_what_is_told_in_a_line()
    tune_controller.logger.error("Trial task failed")
    experiment_state.logger.error("Saving experiment state failed")
    experiment_analysis.logger.warning("Failed to fetch metrics")
    for name, each in loggers.items():
        each.setLevel(before[name])
    assert caplog.records == []


def test_a_lost_process_of_ray_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[list[str]] = []
    monkeypatch.setattr(ray_worker, "print_to_stdstream", lambda data, ignore_prefix: printed.append(data["lines"]))
    shorten_what_ray_tells()
    shorten_what_ray_tells()
    for process in ("raylet", 7):
        ray_worker.print_to_stdstream({"pid": process, "lines": ["it is gone\n  dump"]}, ignore_prefix=False)
    assert printed == [["it is gone"], ["it is gone\n  dump"]]
