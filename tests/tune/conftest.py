import os

import pytest

from tests.support.local_ray import local_ray as small_ray
from tests.support.pipeline import Pipeline


@pytest.fixture
def make(tmp_path):
    return lambda **arguments: Pipeline(tmp_path / "run", **arguments)


@pytest.fixture
def pipeline(make):
    return make()


@pytest.fixture(scope="module")
def local_ray():
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    with small_ray():
        yield
    del os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"]
