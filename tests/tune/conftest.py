import logging
import os

import pytest
import ray

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
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()
    del os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"]
