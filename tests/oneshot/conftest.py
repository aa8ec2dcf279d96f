import asyncio
import time

import pytest

from multinas_ray.oneshot.broker import Broker


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return clock


@pytest.fixture
def play():
    """Run a coroutine function with a new broker whose trials are all up."""

    def run(scenario, first_round=0, num_trials=0, checkpoint_interval_seconds=1e9):
        async def body():
            await scenario(Broker(first_round, num_trials, checkpoint_interval_seconds))

        asyncio.run(asyncio.wait_for(body(), 20))

    return run
