import pytest

from tests.support.pipeline import Pipeline


@pytest.fixture
def make(tmp_path):
    return lambda **arguments: Pipeline(tmp_path / "run", **arguments)


@pytest.fixture
def pipeline(make):
    return make()
