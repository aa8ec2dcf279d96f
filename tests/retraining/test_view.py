import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from multinas_ray.retraining.view import RetrainingView

RESULT = {"epoch": 2, "train_loss": 0.5, "images_per_second": 2345.0}


def trial(network, **last_result):
    return SimpleNamespace(config={"network": network}, last_result=last_result)


@pytest.fixture
def watched():
    """A view of two networks, the numbers it was told are finished, and what it has printed."""
    output = io.StringIO()
    finished: list[int] = []
    view = RetrainingView(
        {0: "#0  1 k params", 2: "#2, #3  5 k params"}, 4, finished.append, Console(file=output, width=80)
    )
    return view, finished, output


def test_each_network_has_a_line_that_says_how_far_it_is(watched):
    view, finished, output = watched
    with view:
        view.on_trial_start(0, [], trial(0))
        view.on_trial_result(0, [], trial(0), RESULT)
        view.on_trial_start(0, [], trial(2))
        view.on_trial_result(0, [], trial(2), {**RESULT, "epoch": 3, "validation_accuracy": 0.75})
        assert not finished
    lines = [" ".join(line.split()) for line in output.getvalue().splitlines()[-2:]]
    assert lines[0].startswith("#0 1 k params")
    assert lines[0].endswith("2/4 epochs loss 0.500, 2.35 k images/s")
    assert lines[1].startswith("#2, #3 5 k params")
    assert lines[1].endswith("3/4 epochs loss 0.500, val. acc. 75.00%")


def test_the_end_of_a_network_is_told_and_shown(watched):
    view, finished, output = watched
    with view:
        for network in (0, 2):
            view.on_trial_start(0, [], trial(network))
        view.on_trial_complete(0, [], trial(2, test_accuracy=0.975))
        view.on_trial_error(0, [], trial(0))
    assert finished == [2]
    lines = [" ".join(line.split()) for line in output.getvalue().splitlines()[-2:]]
    assert lines[0].endswith("0/4 epochs failed")
    assert lines[1].endswith("4/4 epochs done, test accuracy 97.50%")


def test_a_training_that_reported_an_error_has_failed(watched):
    view, finished, output = watched
    with view:
        view.on_trial_start(0, [], trial(0))
        view.on_trial_complete(0, [], trial(0, own_error="DataError: no images"))
    assert finished == []
    assert "failed" in output.getvalue()


def test_lines_are_printed_every_half_minute_where_there_is_no_terminal(watched, monkeypatch):
    view, _, output = watched
    clock = iter([100.0, 110.0, 129.9, 130.0])
    monkeypatch.setattr("multinas_ray.retraining.view.time.monotonic", lambda: next(clock))
    printed = []
    for epoch in range(1, 5):
        view.on_trial_result(0, [], trial(0), {**RESULT, "epoch": epoch})
        printed.append(output.getvalue().count("#0"))
    assert printed == [1, 1, 1, 2]
