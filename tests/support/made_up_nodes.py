"""A Ray cluster that is only told of."""

import pytest
import ray


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch):
    """Makes Ray tell of nodes with these numbers of CPUs and GPUs, and of a dead one."""

    def of(*nodes):
        alive = [{"Alive": True, "Resources": dict(zip(("CPU", "GPU"), node, strict=True))} for node in nodes]
        dead = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
        monkeypatch.setattr(ray, "nodes", lambda: [*alive, dead])

    return of
