import dataclasses
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multinas_ray.errors import ConfigError
from multinas_ray.results import load_run, plots
from multinas_ray.results.labels import place_labels
from multinas_ray.results.pareto import pareto_front

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
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_the_picture_shows_every_part_of_a_run(finished_run, tmp_path, drawn):
    run = load_run(finished_run)
    plots.plot_pareto(run, tmp_path / "p.png")
    (axes,) = drawn[0].axes
    assert axes.get_xlabel() == "Parameters (millions)"
    assert axes.get_ylabel() == "Error (%)"
    assert axes.get_title("left") == "320 evaluations in one search"
    texts = legend(axes)
    assert texts[0].startswith("evaluated, validation images")
    assert texts[1] == "best of all evaluated"
    assert texts[-1] == "trained alone, test images"
    for rank, row in enumerate(run.architectures.to_dict("records")):
        error = 100 * (1 - row["supernet_accuracy"])
        assert texts[2 + rank] == f"{rank}: {row['params'] / 1e6:.3g} M, {error:.1f} %"
    assert [text.get_text() for text in axes.texts] == ["0", "1", "2", "3"]
    width, height = (int.from_bytes((tmp_path / "p.png").read_bytes()[o : o + 4], "big") for o in (16, 20))
    assert (width, height) == (1440, 810)


def test_without_accuracies_the_loss_is_drawn(make_run, tmp_path, drawn):
    make_run(tmp_path / "run", with_accuracy=False).write()
    plots.plot_pareto(load_run(tmp_path / "run"), tmp_path / "p.png", cost="complexity")
    (axes,) = drawn[0].axes
    assert axes.get_ylabel() == "Loss"
    assert axes.get_xlabel() == "Complexity (share of the largest network's)"
    assert axes.get_title("left") == "319 evaluations in one search"  # one failed


def test_a_running_search_shows_where_the_distributions_stand(make_run, tmp_path, drawn):
    recorder = make_run(tmp_path / "run", with_accuracy=False).start()
    for number in range(4):
        recorder.step(number)
    recorder.distributions.flush()
    plots.plot_pareto(load_run(tmp_path / "run"), tmp_path / "p.png", cost="complexity")
    assert legend(drawn[0].axes[0])[-1] == "expectations, update 4"


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
    plots.plot_pareto(
        dataclasses.replace(run, evaluations=run.evaluations.assign(accuracy=accuracy)), tmp_path / "p.png"
    )
    (axes,) = drawn[0].axes
    assert axes.get_ylim()[1] < 150
    hidden = int(legend(axes)[0].split("(")[1].split(" ")[0])
    assert hidden == (100 * (1 - accuracy) > axes.get_ylim()[1]).sum() >= 3


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
    assert legend(top) == [f"{k}: coefficient {c:g}" for k, c in enumerate([0.0, 0.1, 0.3, 1.0])]
    assert bottom.get_xlabel() == "Update"
    assert bottom.get_ylabel() == "Entropy (nats)"
    rows = run.distributions[run.distributions["distribution"] == 2]
    curve = top.get_legend_handles_labels()[0][2]
    np.testing.assert_array_equal(curve.get_ydata(), rows["expected_complexity"])
    assert sum(list(line.get_ydata()) == [0.25, 0.25] for line in top.lines) == 4


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


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.1, 1.0])
def test_labels_cover_neither_each_other_nor_a_network(spread):
    rng = np.random.default_rng(0)
    xs, ys = 0.5 + spread * rng.uniform(-0.4, 0.4, 10), 0.5 + spread * rng.uniform(-0.4, 0.4, 10)
    figure, (axes,) = plots._figure(1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    place_labels(axes, xs, ys, [str(number) for number in range(10)])
    figure.canvas.draw()
    from matplotlib.text import Text

    boxes = [Text.get_window_extent(text) for text in axes.texts]
    assert len(boxes) == 10
    for i, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])
        assert not any(box.contains(*axes.transData.transform((x, y))) for x, y in zip(xs, ys, strict=True))
        frame = axes.get_window_extent()
        assert frame.contains(box.x0, box.y0)
        assert frame.contains(box.x1, box.y1)


def test_points_that_are_not_finite_get_no_label():
    figure, (axes,) = plots._figure(1)
    place_labels(axes, np.array([0.5, NAN]), np.array([0.5, 0.5]), ["a", "b"])
    assert [text.get_text() for text in axes.texts] == ["a"]
    place_labels(axes, np.array([INF]), np.array([0.5]), ["c"])
    assert len(figure.axes[0].texts) == 1


def test_colours_run_from_dark_to_bright():
    brightness = [sum(colour[:3]) for colour in plots._colours(8)]
    assert brightness == sorted(brightness)
    assert len(plots._colours(1)) == 1
    assert pd.Series([tuple(colour) for colour in plots._colours(8)]).is_unique
