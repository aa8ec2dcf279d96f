"""Short texts beside points, none over another."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

_LINE = {"arrowstyle": "-", "color": "0.4", "linewidth": 0.6, "shrinkA": 5, "shrinkB": 4}
_WIDTH, _HEIGHT = 11.0, 13.0  # points, room for one label of one or two characters
_RADIUS = 5.0  # points, room for a marker
_DISTANCES = (17.0, 26.0, 36.0, 50.0, 66.0)
_LINE_FROM = 20.0  # points; nearer texts need no line
_ANGLES = (225, 180, 0, 45, 135, 315, 270, 90)  # below left first: there no network is better


def place_labels(axes: Axes, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64], texts: Sequence[str]) -> None:
    """Write each text near its point, away from the other texts and points, with a thin line where it is far.

    Args:
        axes: Their limits and scales must be final.
        xs: (n,) positions, data coordinates; points that are not finite get no text.
        ys: (n,) the same.
        texts: (n) one or two characters each.
    """
    finite = np.flatnonzero(np.isfinite(xs) & np.isfinite(ys))
    if not len(finite):
        return
    axes.figure.canvas.draw()  # settles the layout, which the distances depend on
    to_points = 72 / axes.figure.dpi
    anchors = axes.transData.transform(np.stack([xs[finite], ys[finite]], axis=1)) * to_points
    frame = axes.get_window_extent()
    low, high = np.array([frame.x0, frame.y0]) * to_points, np.array([frame.x1, frame.y1]) * to_points
    placed: list[npt.NDArray[np.float64]] = []
    for index, anchor in zip(finite.tolist(), anchors, strict=True):
        offset = _free_offset(anchor, anchors, placed, low, high)
        placed.append(anchor + offset)
        axes.annotate(
            texts[index],
            (xs[index], ys[index]),
            xytext=(float(offset[0]), float(offset[1])),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=10,
            fontweight="bold",
            zorder=5,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            arrowprops=_LINE if float(np.hypot(*offset)) > _LINE_FROM else None,
        )


def _free_offset(
    anchor: npt.NDArray[np.float64],
    anchors: npt.NDArray[np.float64],
    placed: Sequence[npt.NDArray[np.float64]],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the first offset, near ones first, where the text covers nothing and lies inside the axes."""
    half = np.array([_WIDTH, _HEIGHT]) / 2
    for distance in _DISTANCES:
        for angle in _ANGLES:
            offset = distance * np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
            centre = anchor + offset
            is_inside = bool(np.all(centre - half >= low) and np.all(centre + half <= high))
            over_text = any(bool(np.all(np.abs(centre - other) < 2 * half)) for other in placed)
            over_point = bool(np.any(np.all(np.abs(centre - anchors) < half + _RADIUS, axis=1)))
            if is_inside and not over_text and not over_point:
                return offset
    return np.array([0.0, -_DISTANCES[-1]])
