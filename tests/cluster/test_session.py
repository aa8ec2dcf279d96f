import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import pytest
import ray
from ray.tune import TuneError
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

from multinas_ray.cluster import ClusterGoneError, HeadWatch, head_watch, ray_errors_told, ray_session, running_cluster
from multinas_ray.cluster import session as session_module
from multinas_ray.cluster.metrics import ascii_tag
from multinas_ray.errors import DataError, RunError


@pytest.fixture
def dead_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
    return address[1]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("ray://127.0.0.1:10001", "is an address of Ray's client: start the search there"),
        ("127.0.0.1:{port}", "does not answer .*: start it .*, correct the address, or unset RAY_ADDRESS"),
        ("nowhere.invalid:6379", "does not answer"),
        ("127.0.0.1", "it is not of the form HOST:PORT"),
        ("127.0.0.1:99999999", "does not answer"),
        ("auto", "there is none: `ray start --head`, or unset RAY_ADDRESS"),
    ],
)
def test_a_cluster_that_cannot_be_reached_is_told_in_a_line_at_once(monkeypatch, dead_port, address, text):
    monkeypatch.setattr(session_module, "_last_started", lambda: None)
    monkeypatch.setattr(ray, "init", lambda **settings: pytest.fail("Ray would try for minutes"))
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", address.format(port=dead_port))
    with pytest.raises(RunError, match=text) as caught, ray_session():
        pass
    assert "\n" not in str(caught.value)


def test_the_file_of_a_cluster_that_is_gone_is_ignored(monkeypatch, dead_port):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(session_module, "_last_started", lambda: f"127.0.0.1:{dead_port}")
    assert running_cluster() is None


def test_a_cluster_that_answers_is_joined(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        monkeypatch.setattr(session_module, "_health_problem", lambda _: None)
        assert running_cluster() == address
        monkeypatch.setattr(session_module, "_health_problem", lambda _: "it is a web server")
        with pytest.raises(RunError, match="it is a web server"):
            running_cluster()


def test_a_ray_that_cannot_start_is_told_in_a_line(monkeypatch):
    def fail(**settings):
        raise Exception("a trace\nThe current node timed out during startup.")  # Ray's own

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(session_module, "running_cluster", lambda: None)
    monkeypatch.setattr(ray, "init", fail)
    text = r"Ray cannot be started \(The current node timed out during startup.\): check the free memory and disk"
    with pytest.raises(RunError, match=text), ray_session():
        pass


def test_sigterm_while_ray_starts_is_an_interrupt(monkeypatch):
    def leave(**settings):
        raise SystemExit(15)

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(session_module, "running_cluster", lambda: None)
    monkeypatch.setattr(ray, "init", leave)
    with pytest.raises(KeyboardInterrupt), ray_session():
        pass


@pytest.mark.usefixtures("dead")
def test_within_a_session_sigterm_interrupts_and_the_head_is_watched(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    before = signal.signal(signal.SIGTERM, lambda number, frame: pytest.fail("SIGTERM was not taken"))
    try:
        with ray_session() as head:
            head.check()
            assert "head-watch" in [thread.name for thread in threading.enumerate()]
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("dead")
def test_tune_passes_no_secrets_to_trials(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    ENV_VARS_TO_PROPAGATE.update(session_module.SECRETS)
    with ray_session():
        assert not ENV_VARS_TO_PROPAGATE & set(session_module.SECRETS)


@pytest.fixture
def dead(monkeypatch):
    dead: list[str] = []
    node = SimpleNamespace(dead_processes=lambda: [(name, None) for name in dead], raylet_socket_name="nowhere")
    monkeypatch.setattr(ray._private.worker, "_global_node", node)
    return dead


@pytest.mark.parametrize("name", ["gcs_server", "raylet"])
def test_a_dead_process_of_ray_is_told(dead, name):
    watch = HeadWatch()
    watch.check()
    dead.append("dashboard")  # a search goes on without
    watch.check()
    dead.append(name)
    with pytest.raises(ClusterGoneError, match=f"a process of Ray, {name}, was ended from outside"):
        watch.check()


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the system does not tell who listens")
def test_the_dead_raylet_of_a_cluster_that_was_joined_is_told(dead, monkeypatch, tmp_path):
    """This driver has not started it, so Ray's own list of dead processes does not have it."""
    path = str(tmp_path / "raylet")
    code = (
        "import socket, sys, time; listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); "
        "listener.listen(); print('ready', flush=True); time.sleep(60.0)"
    )
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as raylet:
        assert raylet.stdout is not None
        assert raylet.stdout.readline() == b"ready\n"
        monkeypatch.setattr(ray._private.worker._global_node, "raylet_socket_name", path)
        monkeypatch.setattr(ray, "nodes", list)
        with HeadWatch() as watch:
            watch.check()
            raylet.kill()
            deadline = time.monotonic() + 10.0
            while watch.problem() is None and time.monotonic() < deadline:
                time.sleep(0.01)
            with pytest.raises(ClusterGoneError, match="a process of Ray, raylet, was ended"):
                watch.check()
    assert dead == []


@pytest.fixture
def quick(monkeypatch):
    """The watch asks and looks every 10 ms, and 3 looks without an answer are too many."""
    for name, seconds in (("ASK", 0.01), ("LOOK", 0.01), ("SILENCE", 0.025), ("REACTION", 60.0)):
        monkeypatch.setattr(head_watch, f"{name}_SECONDS", seconds)


@pytest.mark.usefixtures("dead", "quick")
def test_a_head_that_does_not_answer_is_told(monkeypatch):
    def fail():
        raise ConnectionError

    monkeypatch.setattr(ray, "nodes", fail)
    with HeadWatch() as watch:
        watch.check()
        time.sleep(0.5)
        with pytest.raises(ClusterGoneError, match="has not answered for"):
            watch.check()


@pytest.mark.usefixtures("dead")
def test_a_driver_that_was_stopped_for_long_does_not_blame_the_head(monkeypatch):
    """As by Ctrl-Z and fg, or by the pause of a container: the clock goes on, and nobody has asked."""
    monkeypatch.setattr(ray, "nodes", list)
    before = time.monotonic
    with HeadWatch() as watch:
        monkeypatch.setattr(time, "monotonic", lambda: before() + 1000.0)
        watch.check()


@pytest.mark.usefixtures("dead", "quick")
def test_a_head_that_answers_again_is_there(monkeypatch):
    is_silent = [True]
    monkeypatch.setattr(ray, "nodes", lambda: 1 / 0 if is_silent[0] else [])
    with HeadWatch() as watch:
        time.sleep(0.3)
        assert watch.problem() is not None
        is_silent[0] = False
        monkeypatch.setattr(head_watch, "SILENCE_SECONDS", 1.0)
        time.sleep(0.3)
        watch.check()
        assert watch._silence_seconds < 0.2


@pytest.mark.parametrize("is_checked", [True, False])
def test_a_driver_that_waits_for_a_dead_ray_is_ended_with_a_line(dead, monkeypatch, is_checked):
    ended: list[str] = []
    monkeypatch.setattr(head_watch, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(head_watch, "REACTION_SECONDS", 0.2)
    monkeypatch.setattr(head_watch, "end_driver", ended.append)
    with suppress(ClusterGoneError), HeadWatch() as watch:
        dead.append("gcs_server")
        if is_checked:
            watch.check()
        time.sleep(1.0)
    assert bool(ended) is not is_checked


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ray.exceptions.ActorDiedError(), r"\(a process was ended from outside, or its node is gone\): go on"),
        (ray.exceptions.OutOfMemoryError("memory pressure"), r"for lack of memory \(.*\)\): go on"),
        (ray.exceptions.GetTimeoutError("late"), r"\(late\): go on"),
        (TuneError("one\ntwo"), r"\(TuneError: two\): go on"),
        (ConnectionError("lost"), r"\(ConnectionError: lost\): go on"),
    ],
)
def test_errors_of_ray_become_a_line(error, text):
    with pytest.raises(RunError, match=text) as caught, ray_errors_told("go on"):
        raise error
    assert "\n" not in str(caught.value)


def unexpected_by_tune(cause):
    error = RuntimeError(f"Caught unexpected exception: {cause}")
    error.__cause__ = cause
    return error


def test_what_tune_does_not_expect_of_ray_is_told_by_its_cause():
    with pytest.raises(RunError, match=r"for lack of memory \(.*\)\): go on"), ray_errors_told("go on"):
        raise unexpected_by_tune(ray.exceptions.OutOfMemoryError("6 workers were killed"))
    foreign = unexpected_by_tune(ValueError("no memory"))
    with pytest.raises(RuntimeError) as caught, ray_errors_told("go on"):
        raise foreign
    assert caught.value is foreign


def test_an_error_of_ours_within_one_of_rays_comes_out_itself():
    error = TuneError("failed")
    error.__cause__ = DataError("the image is damaged")
    with pytest.raises(DataError, match="the image is damaged"), ray_errors_told("go on"):
        raise error


def test_names_of_runs_in_any_script_are_ascii_in_metrics_and_stay_different():
    names = ["mein-größter", "поиск", "搜索", "plain"]
    tags = [ascii_tag(name) for name in names]
    assert all(tag.isascii() for tag in tags)
    assert len(set(tags)) == len(names)
    assert tags[-1] == "plain"
