import dataclasses
import itertools
import subprocess
import sys

import matplotlib as mpl
import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multinas_ray.errors import ConfigError
from multinas_ray.report import plots
from multinas_ray.report.figures import look
from multinas_ray.report.figures.look import network_colours
from multinas_ray.runs import best_subset, format_count, load_run, nondominated
from tests.report.label_checks import assert_labels_are_clear
from tests.support.narrow import present

INF, NAN = float("inf"), float("nan")
INHERITED, ALONE = "networks, supernet's weights", "networks, trained alone"
small = st.sampled_from([0.0, 1.0, 2.0, 3.0, INF, NAN])


@settings(deadline=None)
@given(st.lists(st.tuples(small, small), max_size=12))
def test_the_front_is_what_no_point_beats(points):
    losses = np.array([p[0] for p in points])
    complexities = np.array([p[1] for p in points])
    usable = [i for i in range(len(points)) if np.isfinite(points[i]).all()]
    expected = []
    for i in usable:
        beaten = any(
            losses[j] <= losses[i] and complexities[j] <= complexities[i] and (points[j] != points[i] or j < i)
            for j in usable
            if j != i
        )
        if not beaten:
            expected.append(i)
    expected.sort(key=lambda i: complexities[i])
    assert nondominated(losses, complexities).tolist() == expected


@pytest.mark.parametrize("seed", range(20))
def test_the_best_subset_dominates_as_much_as_the_best_of_all_subsets(seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 9, (9, 2)).astype(float)
    points[0] = INF, 1.0
    reference = 7.5, 8.5

    def area(rows):
        usable = [row for row in rows if (points[row] < reference).all()]
        return float(moocore.hypervolume(points[usable], ref=reference)) if usable else 0.0

    for size in (1, 2, 3, 5, 9):
        chosen = best_subset(points[:, 0], points[:, 1], size, reference)
        assert len(chosen) <= size
        assert np.all(np.diff(points[chosen, 1]) > 0)
        best = max(area(rows) for count in range(size + 1) for rows in itertools.combinations(range(9), count))
        assert area(chosen) == pytest.approx(best)


def test_there_may_be_no_best_subset():
    assert best_subset(np.array([INF, 2.0]), np.array([0.0, 5.0]), 3, (1.0, 9.0)).tolist() == []


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ConfigError, match=r"must have the same shape \(n,\), got \(2,\) and \(3,\)"):
        nondominated(np.zeros(2), np.zeros(3))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that would have been saved, which takes longer than to make them."""
    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    return figures


@pytest.fixture
def saved(monkeypatch):
    """The figures that were saved: only then do their labels have their places."""
    figures = []
    real = plots._save

    def noted(figure, path):
        figures.append(figure)
        real(figure, path)

    monkeypatch.setattr(plots, "_save", noted)
    return figures


def legend(axes):
    box = axes.get_legend() or axes.figure.legends[0]
    return [text.get_text() for text in box.get_texts()]


def network_labels(axes):
    """The texts beside the networks."""
    return [text.get_text() for text in axes.texts]


def marker_places(axes, label):
    """Where the markers lie that the legend shows under this label: they have no label of their own."""
    (shown,) = (one for one in axes.collections if one.get_label() == label)
    sizes = {float(size) for size in shown.get_sizes()}
    return next(
        np.asarray(one.get_offsets())
        for one in axes.collections
        if one is not shown and len(one.get_offsets()) and {float(one.get_sizes()[0])} == sizes
    )


def test_the_picture_shows_every_part_of_a_run(finished_run, tmp_path, saved):
    run = load_run(finished_run)
    plots.plot_pareto(run, tmp_path / "p.png")
    search, test = saved[0].axes
    assert search.get_xlabel() == test.get_xlabel() == "Parameters (millions)"
    assert search.get_ylabel() == "Error on validation images (%)"
    assert test.get_ylabel() == "Error on test images (%)"
    assert search.get_ylim()[0] == 0
    headline, subtitle = (text.get_text() for text in saved[0].texts)
    assert headline == "4 networks from one search"
    assert subtitle.startswith("319 evaluations of subnets with shared weights")  # one failed
    assert legend(search) == [
        INHERITED,
        ALONE,
        "evaluations, one batch each",
        "last fifth of them",
        "lowest of the last fifth (noisy)",
    ]
    places = {}
    for axes, label, column in [
        (search, INHERITED, "supernet_accuracy"),
        (test, INHERITED, "supernet_test_accuracy"),
        (test, ALONE, "retrained_accuracy"),
    ]:
        expected = np.stack([run.architectures["params"] / 1e6, 100 * (1 - run.architectures[column])], axis=1)
        np.testing.assert_allclose(marker_places(axes, label), expected)
        places[column] = expected
    for axes, column in ((search, "supernet_accuracy"), (test, "retrained_accuracy")):
        assert network_labels(axes) == [
            f"#{network}: {error:.1f} %" for network, (_, error) in enumerate(places[column])
        ]
        assert any(np.array_equal(line.get_xydata(), places[column]) for line in axes.lines)  # from small to large
    width, height = (int.from_bytes((tmp_path / "p.png").read_bytes()[o : o + 4], "big") for o in (16, 20))
    assert (width, height) == (1440, 810)


def test_validation_and_test_never_share_a_panel(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    untested = run.architectures.assign(supernet_test_accuracy=NAN, retrained_accuracy=NAN)
    half = run.architectures.assign(supernet_test_accuracy=NAN, retrained_accuracy=[NAN, 0.9, NAN, 0.95])
    for networks in (untested, half):
        plots.plot_pareto(dataclasses.replace(run, architectures=networks), tmp_path / "p.png")
    assert [len(figure.axes) for figure in drawn] == [1, 2]
    assert ALONE not in legend(drawn[0].axes[0])
    assert network_labels(drawn[1].axes[1]) == ["#1: 10.0 %", "#3: 5.0 %"]


def test_a_metric_that_is_no_share_is_drawn_as_it_is(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    space = {"inputs": "float32[1, 64]"}
    task = {"metrics": {"R2": {"function": "torchmetrics.R2Score"}}, "primary": "R2"}
    run = dataclasses.replace(run, config={**run.config, "space": space, "task": task})
    plots.plot_pareto(run, tmp_path / "p.png")
    search, test = drawn[0].axes
    assert (search.get_ylabel(), test.get_ylabel()) == ("Loss on validation samples", "R2 on test samples")
    places = marker_places(test, INHERITED)
    assert places[:, 1] == pytest.approx(run.architectures["supernet_test_accuracy"].to_numpy())


def test_late_evaluations_stand_out_and_the_line_is_their_lowest(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    plots.plot_pareto(run, tmp_path / "p.png")
    axes = drawn[0].axes[0]
    early, late = (
        next(np.asarray(one.get_offsets()) for one in axes.collections if one.get_label() == label)
        for label in ("evaluations, one batch each", "last fifth of them")
    )
    usable = run.evaluations[np.isfinite(run.evaluations["loss"])]
    params, error = usable["params"].to_numpy() / 1e6, 100 * (1 - usable["accuracy"].to_numpy())
    split = len(usable) - len(late)
    assert len(late) == -(-len(usable) // 5)
    np.testing.assert_allclose(early, np.stack([params, error], axis=1)[:split])
    np.testing.assert_allclose(late, np.stack([params, error], axis=1)[split:])
    (line,) = (one for one in axes.lines if one.get_label() == "lowest of the last fifth (noisy)")
    corners = np.asarray(line.get_xydata())
    assert set(corners[:, 1]) <= set(late[:, 1])
    for cost, lowest in late:
        assert lowest >= corners[corners[:, 0] <= cost, 1].min()


def test_equal_networks_share_one_label(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    twice = run.architectures.iloc[[0, 1, 1, 3]].reset_index(drop=True).assign(network=range(4), retrained_accuracy=NAN)
    plots.plot_pareto(dataclasses.replace(run, architectures=twice), tmp_path / "p.png")
    axes = drawn[0].axes[0]
    assert drawn[0].texts[0].get_text() == "4 networks (3 different) from one search"
    assert [text.split(":")[0] for text in network_labels(axes)] == ["#0", "#1, 2", "#3"]
    assert ALONE not in legend(axes)


@pytest.mark.parametrize(
    ("factor", "unit", "divisor"),
    [(1e-5, "", 1), (1e-2, " (thousands)", 1e3), (1, " (millions)", 1e6), (1e3, " (billions)", 1e9)],
)
def test_the_unit_follows_the_size_of_the_cost(finished_run, tmp_path, drawn, factor, unit, divisor):
    run = load_run(finished_run)
    run = dataclasses.replace(
        run,
        evaluations=run.evaluations.assign(params=run.evaluations["params"] * factor),
        architectures=run.architectures.assign(params=run.architectures["params"] * factor),
    )
    plots.plot_pareto(run, tmp_path / "p.png")
    axes = drawn[0].axes[0]
    assert axes.get_xlabel() == f"Parameters{unit}"
    networks = marker_places(axes, INHERITED)
    np.testing.assert_allclose(networks[:, 0], run.architectures["params"] / divisor)


def test_without_accuracies_the_loss_is_drawn(make_run, tmp_path, drawn):
    make_run(tmp_path / "run", with_accuracy=False).write()
    plots.plot_pareto(load_run(tmp_path / "run"), tmp_path / "p.png", cost="complexity")
    axes = drawn[0].axes[0]
    assert axes.get_ylabel() == "Loss on validation images"
    assert axes.get_xlabel() == "Complexity (share of the largest network's)"
    assert drawn[0].texts[1].get_text().startswith("319 evaluations")  # one failed
    losses = load_run(tmp_path / "run").architectures["supernet_loss"]
    assert network_labels(axes) == [f"#{k}: {loss:.3g}" for k, loss in enumerate(losses)]


@pytest.mark.parametrize("with_accuracy", [False, True])
@pytest.mark.parametrize("cost", ["complexity", "params", "flops"])
def test_a_running_search_shows_where_the_distributions_stand(make_run, tmp_path, drawn, with_accuracy, cost):
    recorder = make_run(tmp_path / "run", with_accuracy=with_accuracy).start()
    for number in range(4):
        recorder.step(number)
    recorder.record.flush()
    run = load_run(tmp_path / "run")
    plots.plot_pareto(run, tmp_path / "p.png", cost=cost)
    axes = drawn[0].axes[0]
    assert drawn[0].texts[0].get_text() == "A search in progress"
    label = "expected costs, update 4" if with_accuracy else "expected values, update 4"
    assert (label in legend(axes)) == (cost != "flops")  # which does not drive this search
    if cost != "flops":
        newest = run.distributions.tail(4).sort_values("expected_complexity")
        factor = recorder.scale / 1e6 if cost == "params" else 1
        expected = (
            np.zeros((4, 2)) if with_accuracy else newest[["expected_complexity", "expected_loss"]].to_numpy().copy()
        )
        expected[:, 0] = newest["expected_complexity"] * factor
        np.testing.assert_allclose(marker_places(axes, label), expected)


def test_a_wide_cost_gets_a_logarithmic_axis_and_a_narrow_one_does_not(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    wide = run.evaluations.assign(params=np.logspace(4, 7, len(run.evaluations)))
    plots.plot_pareto(run, tmp_path / "p.png")
    plots.plot_pareto(dataclasses.replace(run, evaluations=wide), tmp_path / "p.png")
    assert [figure.axes[0].get_xscale() for figure in drawn] == ["linear", "log"]


def test_outliers_are_counted_and_do_not_squeeze_the_picture(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    accuracy = run.evaluations["accuracy"].to_numpy().copy()
    accuracy[:3] = -100
    succeeded = np.isfinite(run.evaluations["loss"])
    plots.plot_pareto(
        dataclasses.replace(run, evaluations=run.evaluations.assign(accuracy=accuracy)), tmp_path / "p.png"
    )
    axes = drawn[0].axes[0]
    assert axes.get_ylim()[1] < 150
    hidden = int(drawn[0].texts[1].get_text().split(", ")[1].split(" ")[0])
    assert hidden == (succeeded & (100 * (1 - accuracy) > axes.get_ylim()[1])).sum() >= 3


def test_no_network_lies_outside_the_picture(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    networks = run.architectures.assign(retrained_accuracy=0.999, supernet_accuracy=[0.01, 0.2, 0.3, 0.4])
    plots.plot_pareto(dataclasses.replace(run, architectures=networks), tmp_path / "p.png")
    low, high = drawn[0].axes[0].get_ylim()
    assert low < 0.1
    assert high > 99


def test_distributions_are_drawn_over_the_updates(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    plots.plot_distributions(run, tmp_path / "d.png")
    top, bottom = drawn[0].axes
    assert legend(top) == [f"{c:g} (network #{3 - k})" for k, c in enumerate([0.0, 0.1, 0.3, 1.0])]
    assert top.get_legend().get_title().get_text() == "Coefficient"
    assert top.get_ylabel() == "Expected parameters\n(millions)"
    assert bottom.get_xlabel() == "Update"
    assert bottom.get_ylabel() == "Entropy (nats)"
    scale = present(run.complexity_cost)[1] / 1e6
    for network, curve in enumerate(top.get_legend_handles_labels()[0]):  # from small to large
        rows = run.distributions[run.distributions["distribution"] == 3 - network]
        np.testing.assert_allclose(curve.get_ydata(), rows["expected_complexity"] * scale)
        assert curve.get_color() == network_colours(4)[network]
    assert not [line for line in top.lines if line.get_linestyle() == ":"]


def test_targets_are_drawn_and_named(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    scale = present(run.complexity_cost)[1]
    targets = 0.8 - 0.2 * run.distributions["distribution"]
    run = dataclasses.replace(run, distributions=run.distributions.assign(target=targets, coefficient=np.nan))
    plots.plot_distributions(run, tmp_path / "d.png")
    top = drawn[0].axes[0]
    assert legend(top) == [f"{format_count((0.8 - 0.2 * k) * scale)} (network #{3 - k})" for k in range(4)]
    assert top.get_legend().get_title().get_text() == "Target"
    heights = [line.get_ydata()[0] for line in top.lines if line.get_linestyle() == ":"]
    assert heights == pytest.approx([(0.8 - 0.2 * k) * scale / 1e6 for k in reversed(range(4))])


def test_before_the_networks_are_chosen_distributions_rank_by_their_goals(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    update = run.distributions["update"]
    size = run.distributions["distribution"].map({0: 0.3, 1: 0.1, 2: 0.4, 3: 0.2}).where(update == update.max(), 0.5)
    run = dataclasses.replace(
        run, architectures=run.architectures.iloc[:0], distributions=run.distributions.assign(expected_complexity=size)
    )
    plots.plot_distributions(run, tmp_path / "d.png")
    assert legend(drawn[0].axes[0]) == [f"{eps} (network #{3 - k})" for k, eps in enumerate((0, 0.1, 0.3, 1))]


def test_nothing_to_draw_is_told(make_run, tmp_path):
    make_run(tmp_path / "run").start()
    run = load_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="has no successful evaluation to draw yet: wait for the first round"):
        plots.plot_pareto(run, tmp_path / "p.png", cost="complexity")
    with pytest.raises(ConfigError, match="has no recorded update to draw yet: wait for the first one"):
        plots.plot_distributions(run, tmp_path / "p.png")


@pytest.mark.parametrize("cost", ["watts", "id", "trial_id"])
def test_an_unknown_cost_is_told(finished_run, tmp_path, cost):
    with pytest.raises(ConfigError, match=f"no cost '{cost}': choose from .*complexity, params, flops"):
        plots.plot_pareto(load_run(finished_run), tmp_path / "p.png", cost=cost)


def test_drawing_leaves_matplotlib_as_it_was(finished_run, tmp_path):
    before = dict(mpl.rcParams)
    plots.plot_pareto(load_run(finished_run), tmp_path / "p.png")
    assert dict(mpl.rcParams) == before
    script = (
        "import sys; from multinas_ray.report import plot_pareto; from multinas_ray.runs import load_run; "
        "plot_pareto(load_run(sys.argv[1]), sys.argv[2]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(finished_run), str(tmp_path / "q.png")], check=True)


@pytest.mark.parametrize(("on_dark", "paper"), [(False, look.LIGHT.paper), (True, look.DARK.paper)])
def test_colours_run_from_dark_to_bright_and_stand_out_from_their_paper(on_dark, paper):
    colours = network_colours(8, on_dark=on_dark)
    brightness = [luminance(colour) for colour in colours]
    assert brightness == sorted(brightness)
    assert len(set(colours)) == 8
    assert len(network_colours(1, on_dark=on_dark)) == 1
    for colour in colours:  # WCAG 2: graphics need 3 : 1; the brightest on white comes to 2.8
        high, low = sorted([luminance(colour), luminance(paper)], reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 2.8


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_the_labels_of_a_picture_are_clear(finished_run, tmp_path, saved):
    plots.plot_pareto(load_run(finished_run), tmp_path / "p.png")
    for axes, labels in zip(saved[0].axes, ([INHERITED], [INHERITED, ALONE]), strict=True):
        places = [marker_places(axes, label) for label in labels]
        assert_labels_are_clear(axes, axes.texts, np.concatenate(places), [line.get_xydata() for line in axes.lines])
