import io
from typing import Any

import pytest
from ray import tune
from rich.console import Console

from multinas_ray.cluster import SideCallback, SideMatters
from tests.support.narrow import printed

HOOKS = [name for name in vars(tune.Callback) if name.startswith("on_") or name == "setup"]


class Inner(tune.Callback):
    def __init__(self, failing=""):
        self.calls, self._failing = [], failing

    def __getattribute__(self, name):
        if name not in HOOKS:
            return super().__getattribute__(name)

        def hook(*arguments, **info):
            self.calls.append((name, arguments, info))
            if name == self._failing:
                raise ConnectionError("the server is gone")

        return hook


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def test_every_hook_of_tune_is_passed_on(console):
    inner = Inner()
    callback = SideCallback("following", inner, SideMatters(console))
    for hook in HOOKS:
        getattr(callback, hook)(1, trial="a trial")
    assert inner.calls == [(hook, (1,), {"trial": "a trial"}) for hook in HOOKS]
    assert printed(console) == ""


def test_one_that_fails_is_told_once_and_called_no_more(console):
    inner = Inner(failing="on_trial_result")
    callback = SideCallback("following in MLflow", inner, SideMatters(console))
    trial: Any = None
    for _ in range(3):
        callback.on_trial_result(iteration=1, trials=[], trial=trial, result={})
    callback.on_experiment_end(trials=[])
    assert [name for name, _, _ in inner.calls] == ["on_trial_result"]
    assert printed(console).count("Following in MLflow failed (the server is gone). All else goes on.") == 1
