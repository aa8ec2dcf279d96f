"""Notices of the cloud, read from servers that answer as AWS's and Google's do."""

import socket
import threading
import time

import pytest

from multinas_ray.cluster import spot
from multinas_ray.cluster.spot import (
    AWS_NOTICE_SECONDS,
    GOOGLE_NOTICE_SECONDS,
    SpotNotice,
    SpotWatch,
    aws_notice,
    find_cloud,
    google_notice,
)
from tests.support.metadata import FakeMetadata, aws_notice_of


@pytest.fixture
def aws():
    with FakeMetadata("aws") as metadata:
        yield metadata


@pytest.fixture
def google():
    with FakeMetadata("google") as metadata:
        yield metadata


@pytest.fixture
def watch(monkeypatch):
    """Starts a watch of an address that asks all the time; returns it and what it has told."""
    monkeypatch.setattr(spot, "POLL_SECONDS", 0.02)

    def start(url):
        monkeypatch.setenv(spot.URL_VARIABLE, url)
        told: list[float] = []
        thread = SpotWatch(told.append)
        thread.start()
        return thread, told

    return start


def test_aws_tells_of_nothing_then_of_the_time_that_is_left(aws):
    assert aws_notice(aws.url) is None
    aws.notice = aws_notice_of(110)
    assert aws_notice(aws.url) == pytest.approx(110, abs=2)
    aws.notice = aws_notice_of(-5)
    assert aws_notice(aws.url) == 0.0


@pytest.mark.parametrize("time", ["", ', "time": "soon"', ', "time": 3', ', "time": null'])
def test_a_notice_of_aws_without_a_time_has_the_time_that_aws_promises(aws, time):
    aws.notice = f'{{"action": "stop"{time}}}'
    assert aws_notice(aws.url) == AWS_NOTICE_SECONDS


@pytest.mark.parametrize("page", ["", "<html>Please log in</html>", "[]", "3", '{"time": "2026-01-01T00:00:00Z"}'])
def test_a_host_that_answers_anything_is_no_cloud(page):
    with FakeMetadata("anything") as metadata:
        metadata.notice = page
        assert find_cloud(metadata.url) is None


def test_google_tells_of_nothing_then_of_the_end(google):
    assert google_notice(google.url) is None
    google.notice = "TRUE"
    assert google_notice(google.url) == GOOGLE_NOTICE_SECONDS


def test_each_cloud_is_known_by_its_answers(aws, google):
    assert find_cloud(aws.url) is aws_notice
    assert find_cloud(google.url) is google_notice


@pytest.fixture
def closed_url():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_where_nobody_answers_nobody_is_asked_again(watch, closed_url):
    thread, told = watch(closed_url)
    thread.join(10)
    assert not thread.is_alive()
    assert told == []


def test_a_host_that_is_silent_is_given_up_soon(watch, monkeypatch):
    monkeypatch.setattr(spot, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:  # takes connections and says nothing
        thread, told = watch(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join(10)
    assert not thread.is_alive()
    assert told == []


def test_no_address_asks_nobody(watch, monkeypatch):
    monkeypatch.setattr(spot, "find_cloud", lambda url: pytest.fail(f"{url} was asked"))
    thread, told = watch("")
    thread.join(10)
    assert told == []


def test_the_other_clouds_pages_are_no_notice(watch):
    with FakeMetadata("google") as metadata:
        metadata.notice = None
        thread, told = watch(metadata.url)
        while len(metadata.asked) < 5:
            time.sleep(0.01)
        assert thread.is_alive()
        assert told == []
        metadata.notice = "TRUE"
        thread.join(10)
    assert told == [GOOGLE_NOTICE_SECONDS]
    assert ("GET", "/latest/meta-data/spot/instance-action") not in metadata.asked


def test_a_notice_is_told_once(watch, aws):
    thread, told = watch(aws.url)
    while len(aws.asked) < 6:
        time.sleep(0.01)
    assert told == []
    aws.notice = aws_notice_of(100)
    thread.join(10)
    assert not thread.is_alive()
    assert told == [pytest.approx(100, abs=2)]


def test_a_question_without_answer_is_asked_again(watch, monkeypatch):
    answers = iter([None, OSError("the host is busy"), 90.0])  # the first one finds the cloud

    def ask(url):
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setattr(spot, "aws_notice", ask)
    thread, told = watch("http://metadata")
    thread.join(10)
    assert told == [90.0]


def test_a_context_that_is_left_is_told_of_nothing(monkeypatch):
    """Not even of a notice that was asked for within it and is answered after it."""
    asked, left = threading.Event(), threading.Event()
    told: list[float] = []

    def cloud(url):
        asked.set()
        assert left.wait(10)
        return 100.0

    monkeypatch.setattr(spot, "find_cloud", lambda url: cloud)
    with SpotWatch(told.append) as thread:
        assert asked.wait(10)
    left.set()
    thread.join(10)
    assert not thread.is_alive()
    assert told == []


def test_a_context_that_is_left_does_not_wait_for_the_next_question(monkeypatch, aws):
    monkeypatch.setattr(spot, "POLL_SECONDS", 1e6)
    monkeypatch.setenv(spot.URL_VARIABLE, aws.url)
    with SpotWatch(print) as thread:
        while len(aws.asked) < 4:  # once to find the cloud, once for a notice
            time.sleep(0.01)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("seconds_left", "delays"), [(120.0, [0.0, 80.0]), (80.0, [0.0, 40.0]), (79.0, [0.0]), (30.0, [0.0]), (0.0, [0.0])]
)
def test_a_notice_asks_for_a_checkpoint_now_and_a_long_one_for_another_before_the_end(seconds_left, delays):
    assert SpotNotice("10.0.0.7", seconds_left).checkpoint_delays == delays


def test_a_proxy_is_never_asked(aws, closed_url, monkeypatch):
    monkeypatch.setenv("http_proxy", closed_url)
    assert find_cloud(aws.url) is aws_notice


def test_the_watch_keeps_no_process_alive():
    assert SpotWatch(print).daemon


def test_a_notice_is_one_line():
    assert str(SpotNotice("10.0.0.7", 118.4)) == (
        "Spot notice: the cloud takes the node 10.0.0.7 back in 118 s; a checkpoint is saved now."
    )
