"""Processes that share no threads and no locks with this one."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def fresh_processes(count: int, grace_seconds: float = 30.0) -> Iterator[ProcessPoolExecutor]:
    """Start up to `count` processes; after an error or an interrupt, work that has not begun is dropped.

    Where this process dies, however it dies, they are interrupted and end within `grace_seconds`: nobody would take
    their results, and a search that went on would stand in the way of the next command.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        count, mp_context=context, initializer=_end_with_parent, initargs=(grace_seconds,)
    ) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent(grace_seconds: float) -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a process of a pool has a parent"

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(grace_seconds)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
