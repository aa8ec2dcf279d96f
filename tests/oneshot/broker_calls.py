"""Rounds, results and workers for tests of the broker, and calls of it that wait."""

import asyncio
from types import SimpleNamespace

import numpy as np

from multinas_ray.oneshot.messages import Round, RoundResult


def round_of(number):
    return Round(number=number, train_architectures=np.full((1, 2), number), architectures=None)


def rounds_of(start, stop):
    return [round_of(number) for number in range(start, stop)]


def result_of(number, train_loss=0.0):
    return RoundResult(round=number, train_loss=train_loss, losses=(), accuracies=(), compute_seconds=0.1)


def results_of(*numbers):
    return [result_of(number) for number in numbers]


def numbers(rounds):
    return [each.number for each in rounds]


async def is_waiting(awaitable):
    """Start a call; tell that it does not come back by itself, and hand the task over."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, 5)


def worker_that(answer):
    """Stands in for the handle of a worker's actor, which answers so when asked whether it is there."""
    return SimpleNamespace(__ray_ready__=SimpleNamespace(remote=answer))


def alive():
    async def answer():
        return True

    return worker_that(answer)


def dead():
    async def answer():
        raise RuntimeError("the actor died")

    return worker_that(answer)


def silent():
    return worker_that(lambda: asyncio.get_running_loop().create_future())
