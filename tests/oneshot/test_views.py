import io
import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from multinas_ray.oneshot.views import MAX_CURVE_POINTS, Curves, ProgressView, distribution_table
from multinas_ray.runs import format_count
from tests.support.narrow import present, printed


def diagnostics_of(**changes):
    return {
        "coefficient": np.array([0.0, 0.25]),
        "target": np.full(2, np.nan),
        "expected_complexity": np.array([0.75, 0.125]),
        "expected_loss": np.array([0.5, 1.25]),
        "entropy": np.array([3.456, 0.5]),
        "step_size": np.array([1.0, 0.5]),
        "effective_sample_size": np.array([8.0, 3.25]),
        "mode": np.array([[0, 1, 1], [2, 0, 0]]),
        "mode_probability": np.array([0.25, 0.9876]),
        **changes,
    }


def text_of(renderable, width=120):
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return printed(console)


def plain_console():
    return Console(file=io.StringIO(), width=120, force_terminal=False)


@contextmanager
def opened_view(*arguments):
    view = ProgressView(*arguments)
    view.open()
    yield view
    view.close()


@pytest.fixture
def rounds(make_search):
    """Finished rounds: three of the warm-up, then twelve of the search."""
    return [finished for finished, _, _ in make_search().run_in_order().record]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (999, "999"), (1000, "1 k"), (12_345, "12.3 k"), (4.56e6, "4.56 M"), (2e9, "2 G"), (0.25, "0.25")],
)
def test_counts_are_in_a_persons_units(value, text):
    assert format_count(value) == text


def test_the_table_has_a_row_for_each_distribution_in_raw_units():
    lines = text_of(distribution_table(diagnostics_of(), "params", 2e6)).splitlines()
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in lines if "│" in line]
    assert cells == [
        ["0", "0.25", "1.2500", "250 k", "0.50", "3.2", "0.988"],  # the smallest is 0, as among the networks
        ["1", "0", "0.5000", "1.5 M", "3.46", "8.0", "0.250"],
    ]
    (header,) = [line for line in lines if "coefficient" in line]
    for name in ("#", "expected loss", "expected params", "entropy", "ESS", "mode prob."):
        assert name in header


def test_targets_are_shown_in_their_own_unit():
    diagnostics = diagnostics_of() | {"coefficient": np.full(2, np.nan), "target": np.array([0.75, 0.125])}
    console = plain_console()
    console.print(distribution_table(diagnostics, "params", 2e6))
    text = printed(console)
    assert "target" in text
    assert "coefficient" not in text
    assert "1.5 M" in text
    assert "250 k" in text


def test_the_table_can_be_shown_before_the_first_update():
    nan = np.full(2, np.nan)
    text = text_of(distribution_table(diagnostics_of(expected_loss=nan, effective_sample_size=nan), "flops", 1.0))
    assert "nan" in text


def test_without_a_terminal_tables_are_printed_now_and_then(make_plan, rounds, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("multinas_ray.oneshot.views.time.monotonic", lambda: now[0])
    console = plain_console()
    with opened_view(make_plan(), 0, "params", 2e6, console) as view:
        assert "starting workers" in printed(console)
        view.show(rounds[0], diagnostics_of)
        first = printed(console)
        assert "warm-up" in first
        assert "1/15" in first
        now[0] += 29.0
        view.show(rounds[3], diagnostics_of)
        assert printed(console) == first
        now[0] += 1.0
        view.show(rounds[4], diagnostics_of)
    second = printed(console).removeprefix(first)
    assert "5/15" in second
    assert "search" in second
    assert "warm-up" not in second
    assert "The K distributions" in second
    assert "1.5 M" in second
    assert "\x1b" not in printed(console)


def test_without_a_terminal_the_last_state_is_printed_once_at_the_end(make_plan, rounds, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("multinas_ray.oneshot.views.time.monotonic", lambda: now[0])
    console = plain_console()
    with opened_view(make_plan(), 0, "params", 2e6, console) as view:
        view.show(rounds[0], diagnostics_of)
        view.show(rounds[4], diagnostics_of)
    assert printed(console).count("5/15") == 1
    with opened_view(make_plan(), 0, "params", 2e6, console) as view:
        view.show(rounds[6], diagnostics_of)
    assert printed(console).count("7/15") == 1


def test_a_resumed_view_starts_where_the_session_does(make_plan, rounds):
    console = plain_console()
    with opened_view(make_plan(), 7, "params", 1.0, console) as view:
        view.show(rounds[7], diagnostics_of)
    assert "8/15" in printed(console)


def test_a_terminal_shows_the_state_live(make_plan, rounds):
    console = Console(file=io.StringIO(), width=120, height=40, force_terminal=True)
    with opened_view(make_plan(), 0, "params", 2e6, console) as view:
        view.show(rounds[3], diagnostics_of)
        live = present(view._live)
        assert live.is_started
    assert not live.is_started
    assert "The K distributions" in printed(console)
    assert "4/15" in printed(console)


def test_a_terminal_gets_no_table_for_every_short_round(make_plan, rounds, monkeypatch):
    now, asked = [1000.0], []
    monkeypatch.setattr("multinas_ray.oneshot.views.time.monotonic", lambda: now[0])

    def diagnose():
        asked.append(now[0])
        return diagnostics_of()

    console = Console(file=io.StringIO(), width=120, height=40, force_terminal=True)
    with opened_view(make_plan(), 0, "params", 2e6, console) as view:
        for finished in rounds[3:9]:
            view.show(finished, diagnose)
            now[0] += 0.1
    assert asked == pytest.approx([1000.0, 1000.3, 1000.6])
    assert "9/15" in printed(console)


def curves_of(folder):
    """Tag -> {step: value}, read with TensorBoard's own reader."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


@pytest.fixture
def show_all(make_plan, tmp_path):
    def show(rounds, plan=None, diagnostics=None):
        curves = Curves(str(tmp_path / "tensorboard"), plan or make_plan())
        curves.open()
        for finished in rounds:
            curves.show(finished, lambda: diagnostics or diagnostics_of())
        curves.close()
        return curves_of(tmp_path / "tensorboard")

    return show


def test_tensorboard_reads_the_curves_back(rounds, show_all):
    curves = show_all(rounds)
    numbers, evaluated = list(range(15)), list(range(3, 15))
    names = ["expected_complexity", "expected_loss", "entropy", "step_size"]
    names += ["effective_sample_size", "mode_probability"]
    assert set(curves) == {
        "round/train_loss",
        "round/compute_seconds",
        "round/reduced_bytes",
        "round/saved_bytes",
        "round/median_validation_loss",
        *(f"{name}/{k}" for name in names for k in (0, 1)),
    }
    assert list(curves["round/train_loss"]) == numbers
    assert list(curves["round/compute_seconds"]) == numbers
    assert curves["round/reduced_bytes"] == {number: 1000 + number for number in numbers}
    assert curves["round/saved_bytes"] == dict.fromkeys(numbers, 5000)
    assert list(curves["round/median_validation_loss"]) == evaluated
    assert list(curves["entropy/1"]) == evaluated
    for number in evaluated:
        finished = rounds[number]
        assert curves["round/train_loss"][number] == pytest.approx(finished.result.train_loss, rel=1e-6)
        median = pytest.approx(np.median(finished.result.losses), rel=1e-6)
        assert curves["round/median_validation_loss"][number] == median
        assert curves["mode_probability/0"][number] == pytest.approx(0.9876, rel=1e-6)
        assert curves["expected_loss/1"][number] == 0.5


def test_a_round_without_a_weight_step_has_no_training_loss(rounds, show_all):
    without = replace(rounds[4], result=replace(rounds[4].result, train_loss=math.nan))
    curves = show_all([rounds[3], without, rounds[5]])
    assert list(curves["round/train_loss"]) == [3, 5]
    assert list(curves["round/median_validation_loss"]) == [3, 4, 5]


def test_with_one_worker_there_is_no_curve_of_what_travels(rounds, show_all):
    alone = [replace(each, result=replace(each.result, reduced_bytes=0, saved_bytes=0)) for each in rounds]
    assert not any(name.endswith("_bytes") for name in show_all(alone))


def test_long_curves_are_thinned(rounds, show_all, make_plan):
    plan = make_plan(search_rounds=2 * MAX_CURVE_POINTS)
    curves = show_all(rounds, plan=plan)
    assert list(curves["round/train_loss"]) == [0, 3, 6, 9, 12]
