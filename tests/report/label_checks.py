"""What placed labels must hold to."""

from matplotlib.path import Path
from matplotlib.text import Text


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
