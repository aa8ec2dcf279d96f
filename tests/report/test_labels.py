import numpy as np
import pytest
from matplotlib.text import Text

from multinas_ray.report.figures.labels import place_labels
from multinas_ray.report.figures.look import PICTURE, dress, new_figure
from tests.report.label_checks import assert_labels_are_clear

INF, NAN = float("inf"), float("nan")


def panel():
    """An empty panel of a picture."""
    axes = new_figure(PICTURE, 1).subplots()
    dress(axes, PICTURE)
    return axes


@pytest.mark.parametrize("spread", [0.0, 0.01, 0.1, 1.0])
def test_labels_cover_neither_each_other_nor_a_network_nor_a_line(spread):
    rng = np.random.default_rng(0)
    points = 0.5 + spread * rng.uniform(-0.4, 0.4, (10, 2))
    marks = points + np.array([0, 0.1])
    line = np.array([[0.1, 0.2], [0.5, 0.42], [0.9, 0.3]])
    axes = panel()
    figure = axes.figure
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    place_labels(axes, points, [f"#{number}: 1 %" for number in range(10)], marks=marks, lines=[line], look=PICTURE)
    figure.canvas.draw()
    assert len(axes.texts) == 10
    assert_labels_are_clear(axes, axes.texts, np.concatenate([points, marks]), [line])


def test_labels_avoid_the_cloud_where_they_can():
    cloud = np.stack(np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 0.5, 60)), axis=2).reshape(-1, 2)
    places = []
    mirrored = np.array([0, 1]) + cloud * [1, -1]
    for background in (cloud, mirrored):  # below the point, then above it
        axes = panel()
        figure = axes.figure
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        place_labels(axes, np.array([[0.5, 0.5]]), ["here"], cloud=background, look=PICTURE)
        figure.canvas.draw()
        box = Text.get_window_extent(axes.texts[0])
        assert not any(box.contains(*point) for point in axes.transData.transform(background))
        places.append((box.y0 + box.y1) / 2 > axes.transData.transform((0.5, 0.5))[1])
    assert places == [True, False]


def test_points_that_are_not_finite_get_no_label():
    axes = panel()
    figure = axes.figure
    place_labels(axes, np.array([[0.5, 0.5], [NAN, 0.5]]), ["a", "b"], look=PICTURE)
    assert [text.get_text() for text in axes.texts] == ["a"]
    place_labels(axes, np.array([[INF, 0.5]]), ["c"], look=PICTURE)
    assert len(figure.axes[0].texts) == 1
