"""Ray for the duration of one call."""

from __future__ import annotations

import atexit
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import ray
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

from multinas_ray.cluster.head_watch import EXIT_STATUS, ClusterGoneError, HeadWatch
from multinas_ray.cluster.interrupts import sigterm_as_interrupt
from multinas_ray.cluster.quiet import leave_out_the_greeting, leave_out_what_is_told_in_a_line, shorten_what_ray_tells
from multinas_ray.cluster.reaper import Reaper
from multinas_ray.errors import RunError, last_line

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""Variables that Tune would pass from the driver to its trials, and that Ray would write to `runtime_env_agent.log`."""

ANSWER_SECONDS = 10.0
"""Longest time that a running cluster has to answer. Ray itself would try again for many minutes without a word."""

_GONE = threading.Event()
"""Whether Ray's processes were gone when a session ended."""

START_HERE = "unset RAY_ADDRESS to start Ray on this machine"


@contextmanager
def ray_session() -> Iterator[HeadWatch]:
    """Ray for the duration of a call: joins the cluster of RAY_ADDRESS or of a running head node, or starts one.

    If Ray was already running in this process, it is left running. Meanwhile SIGTERM does what Ctrl-C does.

    Yields:
        The watch over Ray's processes; a loop that goes on while they are gone should `check` it.

    Raises:
        RunError: The cluster does not answer, or Ray cannot be started.
    """
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own progress view takes the place of Tune's
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # and our own record that of Tune's files
    os.environ.setdefault("TUNE_FORCE_TRIAL_CLEANUP_S", "10")  # Tune would wait 10 minutes for a trial that hangs
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # the search ends itself in good order at Ctrl-C
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # each node watches for its notice itself
    leave_out_the_greeting()
    leave_out_what_is_told_in_a_line()
    shorten_what_ray_tells()
    ENV_VARS_TO_PROPAGATE.difference_update(SECRETS)  # nodes have credentials of their own, or inherit a local Ray's
    was_running = ray.is_initialized()
    reaper = None if was_running else _start()
    is_gone = False
    with sigterm_as_interrupt(), HeadWatch() as head:
        try:
            yield head
        except ClusterGoneError:
            is_gone = True
            raise
        finally:
            if not was_running:
                _end(is_gone, reaper)


def leave_without_ray() -> None:
    """End this process after Ray's processes were gone: Ray would wait for them for a minute, and abort."""
    if _GONE.is_set():
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(EXIT_STATUS)


def _start() -> Reaper | None:
    """Join the running cluster or start one; returns who ends the processes of one that was started."""
    address = running_cluster()
    reaper = None if address else Reaper()
    atexit.unregister(leave_without_ray)
    atexit.register(leave_without_ray)
    try:
        with nullcontext() if reaper is None else reaper.marking():
            ray.init(address=address or "local", log_to_driver=False, logging_level=logging.WARNING)
        if reaper is not None:
            end_log_monitor()
    except (SystemExit, KeyboardInterrupt) as error:  # the former is Ray's own answer to SIGTERM while it starts
        _end(False, reaper)
        raise KeyboardInterrupt from error
    except Exception as error:  # Ray raises plain exceptions of many kinds here
        _end(False, reaper)
        where, remedy = (
            (
                f"Ray at {address} cannot be joined",
                f"check that it is Ray {ray.__version__} with the same token, or {START_HERE}",
            )
            if address
            else (
                "Ray cannot be started",
                "check the free memory and disk and its logs in /tmp/ray/session_latest/logs",
            )
        )
        raise RunError(f"{where} ({last_line(error)}): {remedy}, then try again") from error
    return reaper


def end_log_monitor() -> None:
    """End the process that hands what workers print to drivers; it costs two percent of a core.

    Ray has to be started by this process, with log_to_driver=False. What workers print stays in Ray's own log files.
    """
    if (node := ray._private.worker._global_node) is not None:
        node.kill_log_monitor(check_alive=False)


def is_cluster_there() -> bool:
    """Whether `ray_session` would join a cluster that is named or runs on this machine, and not start Ray.

    Raises:
        RunError: As in `running_cluster`.
    """
    return ray.is_initialized() or running_cluster() is not None


def running_cluster() -> str | None:
    """The address of the cluster that is to be joined, which answers; None if Ray is to be started here.

    Raises:
        RunError: RAY_ADDRESS names a cluster that does not answer, or Ray's client, by which no search can run.
    """
    told = os.environ.get("RAY_ADDRESS", "")
    if re.match("[a-z]+://", told):
        raise RunError(
            f"a search must run on the cluster itself, RAY_ADDRESS={told} is an address of Ray's client: start the "
            f"search there (`ray job submit`), give HOST:PORT of the head node (usually port 6379), or {START_HERE}"
        )
    if told == "local":
        return None
    address = told if told not in ("", "auto") else _last_started()
    if address is None:
        if told:
            raise RunError(
                f"RAY_ADDRESS={told} needs a running cluster, there is none: `ray start --head`, or {START_HERE}"
            )
        return None
    if (problem := _problem_of(address)) is None:
        return address
    if not told:
        return None  # the file of a cluster that is gone
    raise RunError(
        f"the Ray cluster at RAY_ADDRESS={told} does not answer ({problem}): start it (`ray start --head`), correct "
        f"the address, or {START_HERE}"
    )


def _last_started() -> str | None:
    """The address that `ray start` has left on this machine."""
    address: str | None = ray._private.services.find_bootstrap_address(None)
    return address or None


def _problem_of(address: str) -> str | None:
    """Why a cluster cannot be reached; None if it answers."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        return "it is not of the form HOST:PORT"
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS):
            pass
    except (OSError, OverflowError) as error:
        return str(error)
    return _health_problem(address)


def _health_problem(address: str) -> str | None:
    """Why what listens there is no healthy head process of Ray; None if it is."""
    found: list[str | None] = []

    def ask() -> None:
        try:
            client: Any = ray._raylet.GcsClient(address=address)  # type: ignore[attr-defined]
            client.internal_kv_exists(b"multinas", None, timeout=ANSWER_SECONDS)
            found.append(None)
        except Exception as error:  # Ray's client raises many kinds
            found.append(last_line(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    return found[0] if found else f"no answer of a Ray head process within {ANSWER_SECONDS:.0f} s"


def _end(is_gone: bool, reaper: Reaper | None) -> None:
    """End Ray, or leave the connection to it. Where its processes are gone, Ray would wait, and end the driver then."""
    try:
        if not is_gone:
            ray.shutdown()
            return
        atexit.unregister(ray._private.worker.shutdown)
        _GONE.set()
        if (node := ray._private.worker._global_node) is not None:
            node.kill_all_processes(check_alive=False)
    finally:
        if reaper is not None:
            reaper.end()
