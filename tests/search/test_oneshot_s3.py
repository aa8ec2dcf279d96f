"""A one-shot run in an object store: where the credentials go."""

import pytest
import ray
from ray.tune.execution import class_cache

from multinas_ray.search.cluster import SECRETS, ray_session
from multinas_ray.tune.trial import OneShotTrial


def test_trials_are_not_handed_the_credentials_which_ray_would_log(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "secret")
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    with ray_session():
        trial = class_cache._ActorClassCache().get(OneShotTrial)
    assert not set(SECRETS) & set(trial._default_options["runtime_env"]["env_vars"])
