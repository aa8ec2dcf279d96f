"""For all tests: a Ray that notices sooner and starts less, shared fixtures, an order, a skip without data."""

import gc
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.sharing import FromBothEnds, longest_first

gc.disable()  # until all tests are found: it would look at some 600,000 objects again and again, for ten seconds

pytest_plugins = [
    f"tests.support.{name}"
    for name in ("made_up_nodes", "made_up_search", "small_search", "stores", "synthetic_run", "worker_jobs")
]

os.environ |= {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # of 2: also how often Ray Train takes a report and looks for the end
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # a process for each worker group, which looks for Ray's own notices
    "RAY_prestart_worker_first_driver": "0",  # two processes that are seldom of use: trials have variables of their own
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # of 15, with which a busy machine leaves them no time
}


@pytest.fixture(scope="session", autouse=True)
def _folder_of_the_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What outlives a process lies in a folder of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("machine")))
        yield


@pytest.hookimpl(trylast=True)  # after those that are not wanted have been left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long; skip what is marked `data` if nothing names the folder."""
    items[:] = longest_first(items)
    if not os.environ.get("MULTINAS_DATA"):
        for item in items:
            if item.get_closest_marker("data"):
                item.add_marker(pytest.mark.skip(reason="MULTINAS_DATA is not set"))


def pytest_collection_finish() -> None:
    """What is there stays; the garbage collector need not look at it."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FromBothEnds | None:
    """`--dist loadfile` hands the files out so that few Rays run at once."""
    return FromBothEnds(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What a test or its fixtures draw without a seed of their own does not depend on the tests before."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)
