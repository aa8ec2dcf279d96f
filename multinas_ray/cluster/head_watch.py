"""Noticing that Ray's own processes are gone, before Ray ends the driver without a word that helps."""

from __future__ import annotations

import os
import sys
import threading
import time

import ray

from multinas_ray.cluster.raylet import has_ended, listening_process
from multinas_ray.errors import RunError

ASK_SECONDS, SILENCE_SECONDS = 5.0, 30.0
"""Time between two questions to Ray's head process, and the silence after which it counts as gone. After a minute Ray
ends the driver."""
LOOK_SECONDS, REACTION_SECONDS = 1.0, 8.0
"""Time between two looks, and that in which the driver may end itself in good order."""
EXIT_STATUS = 2


class ClusterGoneError(RunError):
    """Ray's own processes are gone."""


class HeadWatch:
    """Notices that Ray's processes on this node, or the head process of the cluster, are gone; a context manager.

    The driver calls `check` again and again. If it does not, because it waits for Ray, which no longer answers, it is
    ended with a line on standard error.
    """

    def __init__(self) -> None:
        self._silence_seconds = 0.0
        self._is_over = threading.Event()
        self._raylet: int | None = None

    def __enter__(self) -> HeadWatch:
        self._silence_seconds = 0.0
        if (node := ray._private.worker._global_node) is not None:
            self._raylet = listening_process(node.raylet_socket_name)
        for name, work in (("head-asking", self._ask), ("head-watch", self._look)):
            threading.Thread(target=work, name=name, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()

    def check(self) -> None:
        """Check that they are there; it takes no time.

        Raises:
            ClusterGoneError: They are gone.
        """
        if (problem := self.problem()) is not None:
            raise ClusterGoneError(problem)

    def problem(self) -> str | None:
        """What is gone, and what to do; None if all is there."""
        node = ray._private.worker._global_node
        dead: list[str] = [] if node is None else [name for name, _ in node.dead_processes()]  # of those it has started
        if self._raylet is not None and has_ended(self._raylet):
            dead.append("raylet")
        for name in ("gcs_server", "raylet"):
            if name in dead:
                return (
                    f"a process of Ray, {name}, was ended from outside or for lack of memory: look into the logs in "
                    "/tmp/ray/session_latest/logs, and resume the run"
                )
        if (silence := self._silence_seconds) > SILENCE_SECONDS:
            return (
                f"Ray's head process has not answered for {silence:.0f} s, so its node is gone or cannot be reached: "
                "start the cluster again and resume the run"
            )
        return None

    def _ask(self) -> None:
        while not self._is_over.wait(ASK_SECONDS):
            try:
                ray.nodes()
            except Exception:  # no answer is told by `check`
                continue
            self._silence_seconds = 0.0

    def _look(self) -> None:
        noticed_seconds: float | None = None
        while not self._is_over.wait(LOOK_SECONDS):
            # Counted in looks, since no answer can come while this process is stopped, as by Ctrl-Z.
            self._silence_seconds += LOOK_SECONDS
            problem, now = self.problem(), time.monotonic()
            noticed_seconds = None if problem is None else noticed_seconds or now
            if problem is not None and noticed_seconds is not None and now - noticed_seconds > REACTION_SECONDS:
                end_driver(problem)


def end_driver(problem: str) -> None:
    """End this process and Ray's processes that it has started, since it waits for Ray in vain."""
    print(f"error: {problem}", file=sys.stderr, flush=True)
    if (node := ray._private.worker._global_node) is not None:
        node.kill_all_processes(check_alive=False)
    os._exit(EXIT_STATUS)
