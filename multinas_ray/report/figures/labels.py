"""Labels beside points, without overlaps."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text

from multinas_ray.report.figures.look import Look, settle

# n points with a text each; all distances in pixels unless they say otherwise

_RADIUS = 8.0  # points, room for a marker
_DISTANCES = (10.0, 17.0, 26.0, 38.0, 54.0, 74.0, 98.0, 126.0)  # points, from the marker to the text's edge
_LEADER_FROM = 13.0  # points; nearer texts need no line
_ANGLES = np.radians([*range(225, 585, 15)])  # the search starts at the lower left, where no network is better
_STEP = 4.0  # lines are kept clear at points this far apart
# Penalties, in points of distance: the text leaves the axes, covers something, covers a point of the cloud; its line
# crosses a text, or passes over a marker
_OUTSIDE, _HIT, _COVERED, _STRUCK, _PASSED = 1e7, 1e5, 0.5, 1e4, 1e3

HALO = "halo"
"""Id of texts that need a rim in the colour of the paper."""

Points = npt.NDArray[np.float64]
"""(m, 2) positions."""

_NONE: Points = np.empty((0, 2))


def place_labels(
    axes: Axes,
    points: Points,
    texts: Sequence[str],
    *,
    look: Look,
    marks: Points = _NONE,
    lines: Sequence[Points] = (),
    cloud: Points = _NONE,
) -> None:
    """Write each text near its point, clear of other texts, points and lines; a thin line joins distant ones.

    Args:
        axes: Their limits and scales must be final.
        points: (n, 2) in data coordinates; a point that is not finite gets no text.
        texts: (n) of one or more lines.
        look: Sizes and colours of the figure.
        marks: (m, 2) further markers in data coordinates that no text may cover.
        lines: Polylines in data coordinates that no text may cover.
        cloud: (m, 2) small points in data coordinates that texts cover only where there is no better place.
    """
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if not len(finite):
        return
    settle(axes)
    pixels = axes.figure.dpi / 72
    anchors = axes.transData.transform(points[finite])
    markers = np.concatenate([anchors, axes.transData.transform(marks)])
    obstacles = [_along(axes.transData.transform(line[np.isfinite(line).all(axis=1)])) for line in lines]
    background = axes.transData.transform(cloud)
    frame = axes.get_window_extent().get_points()
    boxes: list[Points] = []
    for index, anchor in zip(finite.tolist(), anchors, strict=True):
        label = _write(axes, points[index], texts[index], look)
        extent = Text.get_window_extent(label)
        half = np.array([extent.width, extent.height]) / 2 + 2
        offset, distance = _best_offset(anchor, half, markers, obstacles, boxes, background, frame, pixels)
        label.set_position((offset / pixels).tolist())
        if distance < _LEADER_FROM and label.arrow_patch is not None:
            label.arrow_patch.set_visible(False)
        boxes.append(np.stack([anchor + offset - half, anchor + offset + half]))
        obstacles.append(_along(np.stack([anchor, anchor + offset])))


def _write(axes: Axes, point: Points, text: str, look: Look) -> Annotation:
    palette = look.palette
    label = axes.annotate(
        text, (float(point[0]), float(point[1])), xytext=(0, 0), textcoords="offset points", ha="center", va="center",
        fontsize=look.font, fontweight="bold", color=palette.ink, linespacing=1.15, zorder=6, annotation_clip=False,
        arrowprops={"arrowstyle": "-", "color": palette.muted, "linewidth": 0.8, "shrinkA": 1, "shrinkB": _RADIUS},
    )  # fmt: skip
    if look.is_picture:
        label.set_path_effects([withStroke(linewidth=3, foreground=palette.paper, alpha=0.85)])
    label.set_gid(HALO)  # a page's style sheet draws it there, so that the text stays text
    return label


def _best_offset(
    anchor: Points,
    half: Points,
    markers: Points,
    obstacles: Sequence[Points],
    boxes: Sequence[Points],
    cloud: Points,
    frame: Points,
    pixels: float,
) -> tuple[Points, float]:
    """Return the offset of the text's centre with the least penalty, and its distance in points."""
    walls = np.concatenate([*obstacles, _NONE])
    best, least, at = np.zeros(2), math.inf, 0.0
    for distance in _DISTANCES:
        for angle in _ANGLES:
            way = np.array([math.cos(angle), math.sin(angle)])
            offset = distance * pixels * way + half * way / np.abs(way).max()
            low, high = anchor + offset - half, anchor + offset + half
            leader = _along(np.stack([anchor, anchor + distance * pixels * way]))
            penalty = distance + _OUTSIDE * bool((low < frame[0]).any() or (high > frame[1]).any())
            penalty += _HIT * _count(markers, low - _RADIUS * pixels, high + _RADIUS * pixels)
            penalty += _HIT * _count(walls, low, high)
            penalty += _HIT * sum(bool((low < box[1]).all() and (high > box[0]).all()) for box in boxes)
            penalty += _STRUCK * sum(_count(leader, box[0], box[1]) > 0 for box in boxes)
            penalty += _PASSED * _num_passed(leader, anchor, markers, _RADIUS * pixels)
            penalty += _COVERED * _count(cloud, low, high)
            if penalty < least:
                best, least, at = offset, penalty, distance
    return best, at


def _count(points: Points, low: Points, high: Points) -> int:
    return int(((points > low) & (points < high)).all(axis=1).sum())


def _num_passed(leader: Points, anchor: Points, markers: Points, radius: float) -> int:
    """Return how many markers, other than its own, a line passes over."""
    outside = leader[np.hypot(*(leader - anchor).T) > radius]
    gaps = outside[:, None] - markers[None]
    return int((np.hypot(gaps[..., 0], gaps[..., 1]) < radius).any(axis=0).sum())


def _along(line: Points) -> Points:
    """Return points along a polyline, close enough that no text slips between them."""
    parts = [line[:1]]
    for start, end in itertools.pairwise(line):
        steps = max(1, math.ceil(float(np.hypot(*(end - start))) / _STEP))
        parts.append(start + (end - start) * np.linspace(0, 1, steps + 1)[1:, None])
    return np.concatenate(parts)
