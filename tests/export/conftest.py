import pytest

from tests.export.small_run import write_run


@pytest.fixture
def run_path(tmp_path):
    return write_run(tmp_path)
