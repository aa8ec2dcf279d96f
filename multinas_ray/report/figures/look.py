"""The look of figures: sizes and colours for a picture file, and for the wide and narrow layouts of a page."""

# K networks or distributions

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

PICTURE_DPI = 150
"""Resolution of a picture file."""

_DARK_ON_LIGHT, _LIGHT_ON_DARK = (0.16, 0.68), (0.48, 0.92)  # parts of the colour map with contrast to the paper


@dataclass(frozen=True)
class Palette:
    """Colours by their purpose, as #rrggbb."""

    paper: str
    """The background, and the edges of markers."""
    ink: str
    """Texts."""
    muted: str
    """Subtitles, ticks and leaders."""
    grid: str
    """Grid lines."""
    early: str
    """Evaluations in the first four fifths of the search."""
    late: str
    """Evaluations in the last fifth of the search, and their front."""


LIGHT = Palette(paper="#ffffff", ink="#1b1f24", muted="#57606a", grid="#e9ebee", early="#d3d9e2", late="#8297ae")
DARK = Palette(paper="#15181d", ink="#e8ebef", muted="#a2abb6", grid="#2b313a", early="#39434f", late="#647b93")
MARKERS = Palette(paper="#00f001", ink="#00f002", muted="#00f003", grid="#00f004", early="#00f005", late="#00f006")
"""Stand-ins in a drawing for colours that the style sheet of a page decides."""

_TITLE_INCHES = 0.8
MARKED_NETWORK = "#f0"
"""Prefix of the stand-in for the colour of a network; its key follows in four hexadecimal digits."""


def variables_of_markers() -> dict[str, str]:
    """The variable of the style sheet for each stand-in, without those of networks."""
    return {getattr(MARKERS, name): f"var(--{name})" for name in Palette.__dataclass_fields__}


def network_keys(count: int) -> list[int]:
    """The (K,) places in the range of colours, in thousandths, from the smallest network to the largest."""
    return [round(1000 * index / max(1, count - 1)) for index in range(count)]


def colour_of(key: int, *, on_dark: bool = False) -> str:
    """The colour at a place of `network_keys`.

    Colours go from dark for small networks to bright for large ones. They can be told apart in grey and by colour-blind
    readers. They leave out the part of the map that is too near to the paper, and keep a contrast of about 3 : 1.
    """
    start, end = _LIGHT_ON_DARK if on_dark else _DARK_ON_LIGHT
    return to_hex(colormaps["inferno"](start + (end - start) * key / 1000))


def network_colours(count: int, *, on_dark: bool = False) -> list[str]:
    """The (K,) colours from the smallest network to the largest, see `colour_of`."""
    return [colour_of(key, on_dark=on_dark) for key in network_keys(count)]


@dataclass(frozen=True)
class Look:
    """Sizes and colours of one figure."""

    palette: Palette
    width: float
    """Width in inches."""
    panel_height: float
    """Height of a panel in inches."""
    font: float
    """Size of texts in points."""
    num_columns: int
    """The largest number of panels side by side."""
    is_picture: bool
    """Whether the figure is a picture of its own, with a title and colours. Else the page provides both."""

    def network_colours(self, count: int) -> list[str]:
        """The (K,) colours from the smallest network to the largest."""
        if self.is_picture:
            return network_colours(count)
        return [f"{MARKED_NETWORK}{key:04x}" for key in network_keys(count)]


PICTURE = Look(LIGHT, width=9.6, panel_height=5.4, font=11.5, num_columns=2, is_picture=True)
WIDE = Look(MARKERS, width=10.4, panel_height=3.3, font=9.0, num_columns=2, is_picture=False)
NARROW = Look(MARKERS, width=4.0, panel_height=2.8, font=9.0, num_columns=1, is_picture=False)


def new_figure(look: Look, num_panels: int, *, stacked: bool = False, height: float | None = None) -> Figure:
    """Create an empty figure for panels of one kind.

    Args:
        look: sizes and colours of the figure.
        num_panels: number of panels.
        stacked: whether the panels stand one above the other, whatever the look.
        height: total height in inches; None: the look decides.
    """
    num_rows = num_panels if stacked else math.ceil(num_panels / look.num_columns)
    if height is None:
        height = look.panel_height * (1 if look.is_picture else num_rows)
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.07, hspace=0.04, wspace=0.04)
    figure = Figure(figsize=(look.width, height), dpi=PICTURE_DPI, layout=layout, facecolor=look.palette.paper)
    FigureCanvasAgg(figure)
    return figure


def settle(axes: Axes) -> None:
    """Fix the limits and sizes in the figure of a panel, on which the places of texts depend."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()


def dress(axes: Axes, look: Look) -> None:
    """Apply the look to a panel: colours, sizes, a light grid, and no frame at the top and right."""
    palette = look.palette
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(palette.muted)
    axes.grid(True, color=palette.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(look.font * 1.06)
        axis.label.set_color(palette.ink)
    axes.tick_params(labelsize=look.font, color=palette.muted, labelcolor=palette.ink, which="both")


def panel_title(axes: Axes, look: Look, text: str) -> None:
    """Write a title above a panel."""
    axes.set_title(text, loc="left", fontsize=look.font * 1.06, fontweight="bold", color=look.palette.ink)


def picture_title(figure: Figure, look: Look, headline: str, subtitle: str) -> None:
    """Write a headline and a subtitle across the top of a picture, and keep the panels below."""
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0, 0, 1, 1 - _TITLE_INCHES / look.panel_height))
    headline_y, subtitle_y = (1 - inches / look.panel_height for inches in (0.12, 0.47))
    left = 0.12 / look.width
    for y, text, size, weight, colour in (
        (headline_y, headline, 18, "bold", look.palette.ink),
        (subtitle_y, subtitle, 12.5, "normal", look.palette.muted),
    ):
        figure.text(left, y, text, fontsize=size, fontweight=weight, color=colour, va="top", in_layout=False)


def legend_below(figure: Figure, panels: Sequence[Axes], look: Look) -> None:
    """Write a legend below the figure that explains each mark once."""
    named = {}
    for axes in panels:
        handles, texts = axes.get_legend_handles_labels()
        named.update({text: handle for text, handle in zip(texts, handles, strict=True) if text not in named})
    order = sorted(named, key=lambda text: not text.startswith(("networks", "configurations")))
    num_columns = math.ceil(len(named) / 2) if look.num_columns > 1 else 1
    figure.legend(
        [named[text] for text in order], order, loc="outside lower center", ncols=num_columns, frameon=False,
        fontsize=look.font * 0.96, labelcolor=look.palette.ink, handletextpad=0.5, columnspacing=2.0,
    )  # fmt: skip
