import dataclasses
import itertools
import subprocess
import sys

import matplotlib as mpl
import moocore
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path
from matplotlib.text import Text

from multinas_ray.errors import ConfigError
from multinas_ray.results import load_run, plots
from multinas_ray.results.labels import place_labels
from multinas_ray.results.pareto import best_subset, pareto_front

INF, NAN = float("inf"), float("nan")
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
    assert pareto_front(losses, complexities).tolist() == expected


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
        chosen = best_subset(*points.T, size, reference)
        assert len(chosen) <= size
        assert np.all(np.diff(points[chosen, 1]) > 0)
        best = max(area(rows) for count in range(size + 1) for rows in itertools.combinations(range(9), count))
        assert area(chosen) == pytest.approx(best)


def test_there_may_be_no_best_subset():
    assert best_subset(np.array([INF, 2.0]), np.array([0.0, 5.0]), 3, (1.0, 9.0)).tolist() == []


def test_arrays_of_different_lengths_are_refused():
    with pytest.raises(ConfigError, match=r"must be \(n,\) alike, not \(2,\) and \(3,\)"):
        pareto_front(np.zeros(2), np.zeros(3))


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures = []
    real = plots._save
    monkeypatch.setattr(plots, "_save", lambda figure, path: (figures.append(figure), real(figure, path)))
    return figures


def legend(axes):
    box = axes.get_legend() or axes.figure.legends[0]
    return [text.get_text() for text in box.get_texts()]


def network_labels(axes):
    """The texts beside the networks; the first text of the axes is the subtitle."""
    return [text.get_text() for text in axes.texts[1:]]


def marker_places(axes, label):
    """Where the markers lie that the legend shows under this label: they have no label of their own."""
    (shown,) = (one for one in axes.collections if one.get_label() == label)
    sizes = {float(size) for size in shown.get_sizes()}
    return next(
        np.asarray(one.get_offsets())
        for one in axes.collections
        if one is not shown and len(one.get_offsets()) and {float(one.get_sizes()[0])} == sizes
    )


def test_the_picture_shows_every_part_of_a_run(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    plots.plot_pareto(run, tmp_path / "p.png")
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == "Parameters (millions)"
    assert axes.get_ylabel() == "Error (%)"
    assert axes.get_ylim()[0] == 0
    assert axes.get_title("left") == "4 networks from one search"
    assert axes.texts[0].get_text().startswith("319 evaluations of subnets with shared weights")  # one failed
    assert legend(axes) == [
        "networks, all validation images",
        "trained alone, test images",
        "evaluations, one batch each",
        "the last fifth of them",
        "lowest of the last fifth (noisy)",
    ]
    errors = {
        name: 100 * (1 - run.architectures[f"{column}_accuracy"].to_numpy())
        for name, column in {"": "supernet", "test ": "supernet_test", "alone ": "retrained"}.items()
    }
    assert network_labels(axes) == [
        f"#{rank}: " + "\n".join(f"{name}{error[rank]:.1f} %" for name, error in errors.items()) for rank in range(4)
    ]
    expected = np.stack([run.architectures["params"] / 1e6, errors[""]], axis=1)
    np.testing.assert_allclose(marker_places(axes, "networks, all validation images"), expected)
    assert any(np.array_equal(line.get_xydata(), expected) for line in axes.lines)  # joined from small to large
    expected[:, 1] = errors["alone "]
    np.testing.assert_allclose(marker_places(axes, "trained alone, test images"), expected)
    width, height = (int.from_bytes((tmp_path / "p.png").read_bytes()[o : o + 4], "big") for o in (16, 20))
    assert (width, height) == (1440, 810)


def test_late_evaluations_stand_out_and_the_line_is_their_lowest(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    plots.plot_pareto(run, tmp_path / "p.png")
    (axes,) = drawn[0].axes
    early, late = (
        next(np.asarray(one.get_offsets()) for one in axes.collections if one.get_label() == label)
        for label in ("evaluations, one batch each", "the last fifth of them")
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
    twice = run.architectures.iloc[[0, 1, 1, 3]].reset_index(drop=True).assign(rank=range(4), retrained_accuracy=NAN)
    plots.plot_pareto(dataclasses.replace(run, architectures=twice), tmp_path / "p.png")
    (axes,) = drawn[0].axes
    assert axes.get_title("left") == "4 networks (3 different) from one search"
    assert [text.split(":")[0] for text in network_labels(axes)] == ["#0", "#1, 2", "#3"]
    assert not any("alone" in text for text in network_labels(axes) + legend(axes))


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
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == f"Parameters{unit}"
    networks = marker_places(axes, "networks, all validation images")
    np.testing.assert_allclose(networks[:, 0], run.architectures["params"] / divisor)


def test_without_accuracies_the_loss_is_drawn(make_run, tmp_path, drawn):
    make_run(tmp_path / "run", with_accuracy=False).write()
    plots.plot_pareto(load_run(tmp_path / "run"), tmp_path / "p.png", cost="complexity")
    (axes,) = drawn[0].axes
    assert axes.get_ylabel() == "Loss"
    assert axes.get_xlabel() == "Complexity (share of the largest network's)"
    assert axes.texts[0].get_text().startswith("319 evaluations")  # one failed
    losses = load_run(tmp_path / "run").architectures["supernet_loss"]
    assert [text.split("\n")[0] for text in network_labels(axes)] == [
        f"#{k}: {loss:.3g}" for k, loss in enumerate(losses)
    ]


@pytest.mark.parametrize("with_accuracy", [False, True])
@pytest.mark.parametrize("cost", ["complexity", "params", "flops"])
def test_a_running_search_shows_where_the_distributions_stand(make_run, tmp_path, drawn, with_accuracy, cost):
    recorder = make_run(tmp_path / "run", with_accuracy=with_accuracy).start()
    for number in range(4):
        recorder.step(number)
    recorder.distributions.flush()
    run = load_run(tmp_path / "run")
    plots.plot_pareto(run, tmp_path / "p.png", cost=cost)
    (axes,) = drawn[0].axes
    assert axes.get_title("left") == "A search in progress"
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
    (axes,) = drawn[0].axes
    assert axes.get_ylim()[1] < 150
    hidden = int(axes.texts[0].get_text().split(", ")[1].split(" ")[0])
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
    run = dataclasses.replace(run, distributions=run.distributions.assign(target=0.25))
    plots.plot_distributions(run, tmp_path / "d.png")
    top, bottom = drawn[0].axes
    assert legend(top) == [f"{c:g} (network #{3 - k})" for k, c in enumerate([0.0, 0.1, 0.3, 1.0])]
    assert top.get_legend().get_title().get_text() == "Coefficient"
    assert top.get_ylabel() == "Expected parameters\n(millions)"
    assert bottom.get_xlabel() == "Update"
    assert bottom.get_ylabel() == "Entropy (nats)"
    scale = run.driving_cost[1] / 1e6
    for network, curve in enumerate(top.get_legend_handles_labels()[0]):  # from small to large
        rows = run.distributions[run.distributions["distribution"] == 3 - network]
        np.testing.assert_allclose(curve.get_ydata(), rows["expected_complexity"] * scale)
        assert curve.get_color() == plots._colours(4)[network]
    targets = [line for line in top.lines if line.get_linestyle() == ":"]
    assert [list(line.get_ydata()) for line in targets] == [pytest.approx([0.25 * scale] * 2)] * 4


def test_before_the_networks_are_chosen_distributions_rank_by_expected_cost(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    update = run.distributions["update"]
    size = run.distributions["distribution"].map({0: 0.3, 1: 0.1, 2: 0.4, 3: 0.2}).where(update == update.max(), 0.5)
    run = dataclasses.replace(
        run, architectures=run.architectures.iloc[:0], distributions=run.distributions.assign(expected_complexity=size)
    )
    plots.plot_distributions(run, tmp_path / "d.png")
    assert legend(drawn[0].axes[0]) == ["0.3", "0", "1", "0.1"]


def test_nothing_to_draw_is_told(make_run, tmp_path):
    make_run(tmp_path / "run").start()
    run = load_run(tmp_path / "run")
    with pytest.raises(ConfigError, match="has no successful evaluation to draw yet: wait for the first round"):
        plots.plot_pareto(run, tmp_path / "p.png", cost="complexity")
    with pytest.raises(ConfigError, match="has no recorded update to draw yet: wait for the first flush"):
        plots.plot_distributions(run, tmp_path / "p.png")


@pytest.mark.parametrize("cost", ["watts", "id", "trial_id"])
def test_an_unknown_cost_is_told(finished_run, tmp_path, cost):
    with pytest.raises(ConfigError, match=f"no cost '{cost}': choose one of .*params, flops, complexity"):
        plots.plot_pareto(load_run(finished_run), tmp_path / "p.png", cost=cost)


def test_drawing_leaves_matplotlib_as_it_was(finished_run, tmp_path):
    before = dict(mpl.rcParams)
    plots.plot_pareto(load_run(finished_run), tmp_path / "p.png")
    assert dict(mpl.rcParams) == before
    script = (
        "import sys; from multinas_ray.results import load_run, plots; "
        "plots.plot_pareto(load_run(sys.argv[1]), sys.argv[2]); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script, str(finished_run), str(tmp_path / "q.png")], check=True)


def assert_labels_are_clear(axes, texts, markers, lines):
    """No box of a text lies over another, over a marker or a line, or outside the axes."""
    boxes = [Text.get_window_extent(text) for text in texts]
    frame = axes.get_window_extent()
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        assert not any(box.contains(*axes.transData.transform(point)) for point in markers)
        assert not any(Path(axes.transData.transform(line)).intersects_bbox(box, filled=False) for line in lines)
        assert frame.contains(box.x0, box.y0)
        assert frame.contains(box.x1, box.y1)


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.1, 1.0])
def test_labels_cover_neither_each_other_nor_a_network_nor_a_line(spread):
    rng = np.random.default_rng(0)
    points = 0.5 + spread * rng.uniform(-0.4, 0.4, (10, 2))
    marks = points + np.array([0, 0.1])
    line = np.array([[0.1, 0.2], [0.5, 0.42], [0.9, 0.3]])
    figure, (axes,) = plots._figure(1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    place_labels(axes, points, [f"#{number}: 1 %" for number in range(10)], marks=marks, lines=[line])
    figure.canvas.draw()
    assert len(axes.texts) == 10
    assert_labels_are_clear(axes, axes.texts, np.concatenate([points, marks]), [line])


def test_the_labels_of_a_picture_are_clear(finished_run, tmp_path, drawn):
    plots.plot_pareto(load_run(finished_run), tmp_path / "p.png")
    (axes,) = drawn[0].axes
    places = [marker_places(axes, label) for label in legend(axes)[:2]]
    assert_labels_are_clear(axes, axes.texts[1:], np.concatenate(places), [line.get_xydata() for line in axes.lines])


def test_labels_avoid_the_cloud_where_they_can():
    cloud = np.stack(np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 0.5, 60)), axis=2).reshape(-1, 2)
    places = []
    for background in (cloud, [0, 1] - [0, 1] * cloud + cloud * [1, 0]):  # below the point, then above it
        figure, (axes,) = plots._figure(1)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        place_labels(axes, np.array([[0.5, 0.5]]), ["here"], cloud=background)
        figure.canvas.draw()
        box = Text.get_window_extent(axes.texts[0])
        assert not any(box.contains(*point) for point in axes.transData.transform(background))
        places.append((box.y0 + box.y1) / 2 > axes.transData.transform((0.5, 0.5))[1])
    assert places == [True, False]


def test_points_that_are_not_finite_get_no_label():
    figure, (axes,) = plots._figure(1)
    place_labels(axes, np.array([[0.5, 0.5], [NAN, 0.5]]), ["a", "b"])
    assert [text.get_text() for text in axes.texts] == ["a"]
    place_labels(axes, np.array([[INF, 0.5]]), ["c"])
    assert len(figure.axes[0].texts) == 1


def test_colours_run_from_dark_to_bright():
    brightness = [sum(colour[:3]) for colour in plots._colours(8)]
    assert brightness == sorted(brightness)
    assert len(plots._colours(1)) == 1
    assert pd.Series([tuple(colour) for colour in plots._colours(8)]).is_unique
