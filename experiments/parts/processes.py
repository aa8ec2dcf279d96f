"""Processes that share no threads and no locks with this one."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def fresh_processes(count: int) -> Iterator[ProcessPoolExecutor]:
    """Start up to `count` processes; after an error or an interrupt, work that has not begun is dropped."""
    with ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
