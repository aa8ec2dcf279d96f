import os
import signal
import threading

import pytest

from multinas_ray.cluster import EndedAtOnce, Interrupts, sigterm_as_interrupt


@pytest.fixture
def told():
    return []


@pytest.fixture
def interrupts(told):
    return Interrupts(lambda: told.append("told"))


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def kill(request):
    return lambda: os.kill(os.getpid(), request.param)


def test_the_first_asks_and_the_second_raises(interrupts, told, kill):
    with interrupts.taken():
        assert not interrupts.is_asked
        kill()
        assert interrupts.is_asked
        assert told == ["told"]
        with pytest.raises(KeyboardInterrupt):
            kill()
    assert told == ["told"]


def test_in_a_loop_the_second_waits_for_the_next_step_so_that_the_loop_can_clean_up(interrupts, kill):
    cleaned = []

    def steps():
        try:
            kill()
            interrupts.check()
            kill()
            interrupts.check()
        except Exception:
            cleaned.append("up")
            raise

    with interrupts.taken(), pytest.raises(KeyboardInterrupt), interrupts.loop():
        steps()
    assert cleaned == ["up"]


def test_the_third_does_not_wait_for_a_loop_that_hangs(interrupts, kill):
    with interrupts.taken(), interrupts.loop():
        kill()
        kill()
        with pytest.raises(KeyboardInterrupt):
            kill()


def test_ended_at_once_is_an_exception_that_tune_cleans_up_after():
    assert issubclass(EndedAtOnce, Exception)


def test_the_handlers_before_come_back(interrupts):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with interrupts.taken():
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_sigterm_does_what_ctrl_c_does_at_that_moment():
    with sigterm_as_interrupt():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        seen = []
        before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
        os.kill(os.getpid(), signal.SIGTERM)
        signal.signal(signal.SIGINT, before)
        assert seen == [signal.SIGINT]


def test_elsewhere_than_in_the_main_thread_nothing_is_taken(interrupts):
    problems = []

    def run():
        try:
            with interrupts.taken(), sigterm_as_interrupt():
                pass
        except ValueError as error:
            problems.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert problems == []
