"""Predicted against measured latency."""

# n networks

import dataclasses

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from multinas_ray.report.figures.axes import number_ticks
from multinas_ray.report.figures.look import Look, dress, new_figure

_ASPECT = 0.62  # largest height of a panel, divided by its width
_MOST_WIDTH = 6.4  # inches


def latency_figure(validation: pd.DataFrame, look: Look) -> Figure:
    """Draw the latency that a table of blocks predicts against the measured latency of whole networks.

    Args:
        validation: One row for each network: `predicted_ms`, `measured_ms` and, if known, `spread`, which is the
            spread of the measurement in milliseconds.
        look: Sizes and colours.
    """
    look = look if look.is_picture else dataclasses.replace(look, width=min(look.width, _MOST_WIDTH))
    figure = new_figure(look, 1, height=min(look.width * _ASPECT, look.panel_height * (1 if look.is_picture else 1.3)))
    axes = figure.subplots()
    dress(axes, look)
    predicted, measured = (validation[name].to_numpy(dtype=float) for name in ("predicted_ms", "measured_ms"))
    ends = np.array([np.nanmin([predicted, measured]), np.nanmax([predicted, measured])])
    axes.plot(ends, ends, color=look.palette.muted, linewidth=1, linestyle="--", zorder=1)
    axes.text(
        0.98, 0.04, "dashed: measured = predicted", transform=axes.transAxes, ha="right", va="bottom",
        fontsize=look.font, color=look.palette.muted,
    )  # fmt: skip
    colour = look.network_colours(2)[0 if look.is_picture else 1]
    if "spread" in validation:
        spread = validation["spread"].to_numpy(dtype=float)
        axes.errorbar(predicted, measured, yerr=spread, fmt="none", ecolor=look.palette.late, elinewidth=1, zorder=2)
    axes.scatter(predicted, measured, s=0.32 * look.font**2, color=colour, linewidths=0, zorder=3)
    axes.set_xlabel("Predicted from the table of blocks (ms)")
    axes.set_ylabel("Measured, whole network (ms)")
    number_ticks(axes.xaxis)
    number_ticks(axes.yaxis)
    return figure
