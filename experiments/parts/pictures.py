"""Colours and style of the pictures."""

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from multinas_ray.storage import write_atomic

# Okabe and Ito's colours, which colour-blind readers can distinguish; markers and line styles work without colour
BLACK = "#000000"
BLUE = "#0072B2"
GREEN = "#009E73"
GREY = "#7F7F7F"
ORANGE = "#E69F00"
PURPLE = "#CC79A7"
SKY_BLUE = "#56B4E9"
VERMILION = "#D55E00"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure with this size in inches, drawn without a screen."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture as a PNG file, completely or not at all."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_atomic(path, picture.getvalue())


def plain_frame(axes: Axes) -> None:
    """A faint grid, and no frame above and on the right."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
