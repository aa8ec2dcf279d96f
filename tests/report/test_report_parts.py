import dataclasses
import itertools
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from multinas_ray.report import wording
from multinas_ray.report.accounting import accounting_of
from multinas_ray.report.figures import curves, pareto
from multinas_ray.report.figures.look import NARROW, WIDE, network_keys, new_figure
from multinas_ray.report.figures.svg import svg_of
from multinas_ray.runs import load_run, nondominated
from tests.support.narrow import present


def rounds(*rows):
    """Rounds of (whether they trained, evaluations, seconds)."""
    return pd.DataFrame(
        {
            "round": range(len(rows)),
            "train_loss": [1.0 if trained else np.nan for trained, _, _ in rows],
            "num_evaluations": [count for _, count, _ in rows],
            "compute_seconds": [seconds for _, _, seconds in rows],
            "wall_time_seconds": np.arange(len(rows), dtype=float),
            "reduced_bytes": [4_000_000 * trained for trained, _, _ in rows],
            "saved_bytes": [10_000_000 * trained for trained, _, _ in rows],
        }
    )


@pytest.fixture
def run(finished_run):
    """Four networks, 320 evaluations, 8 of an update."""
    return load_run(finished_run)


def figures_of(run, table, workers=1):
    settings = {**run.config, "settings": {"num_workers": workers}}
    told = present(accounting_of(dataclasses.replace(run, rounds=table, config=settings)))
    return {row[0]: row[1:] for row in told.table.rows}, " ".join(told.measured), " ".join(told.extrapolated)


def test_weights_first_is_accounted_exactly(run):
    table = rounds(*[(True, 0, 2.0)] * 30, *[(False, 8, 0.5)] * 40)
    told, measured, extrapolated = figures_of(run, table, workers=2)
    assert told["Weight steps"] == ["30", "120"]
    assert told["Evaluations"] == ["320", "320 to 1,280"]
    assert told["Weight training, worker time"] == ["2 min 0 s", "8 min 0 s"]
    assert told["Evaluations, worker time"] == ["40 s", "40 s to 2 min 40 s"]
    assert told["Total, worker time"] == ["2 min 40 s", "8 min 40 s to 10 min 40 s"]
    assert told["Total, relative to this search"] == ["1", "3.25 to 4"]
    assert "70 rounds are recorded: 30 only trained weights, 40 evaluated subnets." in measured
    assert "times the 2 workers" in measured
    assert "contributed 120 MB of gradients" in measured
    assert "another 300 MB" in measured
    assert "did both" not in measured
    assert "No separate search was run." in extrapolated
    assert "only the 2 evaluations of an update" in extrapolated
    assert "gives it all 8, from which each distribution learned here" in extrapolated


def test_rounds_that_do_both_are_split_by_the_mean_of_those_that_train(run):
    table = rounds((True, 0, 1.0), (True, 0, 3.0), (True, 8, 5.0), (True, 8, 1.5))
    told, measured, _ = figures_of(run, table)
    assert told["Weight training, worker time"] == ["about 7.5 s", "about 30 s"]  # 1 + 3 + 2 + 1.5, never more than all
    assert told["Evaluations, worker time"] == ["about 3 s", "3 s to 12 s"]
    assert "2 rounds did both" in measured
    assert "gradients" not in measured


def test_time_that_cannot_be_told_apart_is_not_guessed(run):
    told, measured, _ = figures_of(run, rounds((True, 8, 5.0), (True, 8, 1.5)))
    assert list(told) == ["Weight steps", "Evaluations"]
    assert "cannot be told apart" in measured


def test_without_a_record_nothing_is_accounted(run):
    assert accounting_of(dataclasses.replace(run, evaluations=run.evaluations[:0], rounds=run.rounds[:0])) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.123, "0.12 s"), (9.9, "9.9 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599.6, "1 h 0 min"), (7384, "2 h 3 min"),
     (None, "–"), (float("nan"), "–")],  # noqa: RUF001
)  # fmt: skip
def test_times_have_their_two_largest_units(seconds, text):
    assert wording.seconds(seconds) == text


def test_columns_of_which_nothing_is_known_are_left_out():
    columns = [wording.Column(name) for name in "abc"]
    table = wording.Table(columns, [["1", wording.UNKNOWN, ""], ["2", wording.UNKNOWN, "x"]]).known()
    assert [column.name for column in table.columns] == ["a", "c"]
    assert table.rows == [["1", ""], ["2", "x"]]


def test_a_cloud_becomes_one_path_with_a_dot_for_each_point():
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots()
    xs, ys = np.random.default_rng(0).uniform(size=(2, 500))
    axes.scatter(xs, ys, s=9, color=WIDE.palette.late, linewidths=0, label="dots").set_gid(pareto.CLOUD)
    axes.legend()
    svg = svg_of(figure, label='a "cloud" <of> dots', prefix="p")
    assert svg.count("h0") == 500
    assert 'aria-label="a &quot;cloud&quot; &lt;of&gt; dots"' in svg
    assert "var(--late)" in svg
    shape = present(
        re.search(r'<use [^>]*href="#([\w-]+)"[^>]*var\(--late\)|<use [^>]*var\(--late\)[^>]*href="#([\w-]+)"', svg)
    )
    assert f'id="{shape[1] or shape[2]}"' in svg  # the legend's mark
    assert "font-family" not in svg
    assert len(svg) < 25_000


def test_a_huge_cloud_is_thinned_and_keeps_its_front():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(60_000, 2))
    points[7], points[8] = (-9.0, -9.0), (-9.0 + 1e-7, -9.0 + 1e-7)  # the later one hides the front's
    thinned = pareto._thinned(points)
    assert len(thinned) < 30_000
    front = points[nondominated(points[:, 1], points[:, 0])]
    kept = {tuple(point) for point in thinned}
    assert {tuple(point) for point in front} <= kept <= {tuple(point) for point in points}
    few = points[:100]
    assert pareto._thinned(few) is few


@pytest.mark.parametrize("heights", [[5.0, 5.0, 5.0], [0.0, 1.0, 50.0], [99.0, 98.0, 3.0], [50.0], []])
def test_labels_spread_in_order_with_a_gap_inside_the_panel(heights):
    spread = curves._spread(np.array(heights), 10.0, 100.0)
    order = np.argsort(heights, kind="stable")
    assert np.all(np.diff(spread[order]) >= 10.0 - 1e-9)
    assert np.all((spread >= 0) & (spread <= 100))
    lonely = [50.0] in (heights,) or heights == [0.0, 1.0, 50.0]
    assert not lonely or spread[-1] == 50.0


def test_the_moving_mean_keeps_constants_and_skips_what_is_not_finite():
    assert curves._moving_mean(np.full(9, 2.0), 5).tolist() == [2.0] * 9
    values = np.array([1.0, np.nan, 3.0, np.inf, 5.0])
    assert curves._moving_mean(values, 3).tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("look", [WIDE, NARROW])
def test_every_line_is_labelled_at_its_end(run, look):
    figure = curves.convergence_figure(run, run.architectures, look)
    assert len(figure.axes) == 4
    for axes in figure.axes:
        assert [text.get_text() for text in axes.texts] == ["#0", "#1", "#2", "#3"]
        boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
        assert all(low.y1 <= high.y0 + 1.5 for low, high in itertools.pairwise(boxes))


def test_networks_of_one_rank_have_one_colour_whatever_their_number():
    assert network_keys(1) == [0]
    assert network_keys(3) == [0, 500, 1000]
    assert (network_keys(8)[0], network_keys(8)[-1]) == (0, 1000)
    assert set(network_keys(3)) <= set(network_keys(5))
    assert len(set(network_keys(64))) == 64


def test_a_figure_is_as_tall_as_its_rows():
    assert new_figure(WIDE, 4).get_size_inches()[1] == pytest.approx(2 * WIDE.panel_height)
    assert new_figure(NARROW, 4).get_size_inches()[1] == pytest.approx(4 * NARROW.panel_height)
