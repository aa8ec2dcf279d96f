"""The figures of the report, each in a wide and a narrow layout; the style sheet shows the one that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from multinas_ray.errors import ConfigError
from multinas_ray.report.figures.curves import convergence_figure, is_training_known, training_figure
from multinas_ray.report.figures.latency import latency_figure
from multinas_ray.report.figures.look import NARROW, WIDE, Look
from multinas_ray.report.figures.pareto import pareto_figure
from multinas_ray.report.figures.svg import svg_of
from multinas_ray.report.networks import ReportedFamily
from multinas_ray.report.wording import plural
from multinas_ray.runs import Run


@dataclass(frozen=True)
class Drawing:
    """One figure in both layouts."""

    wide: Markup
    narrow: Markup


def pareto_drawing(run: Run, networks: pd.DataFrame) -> Drawing | None:
    """The networks over all evaluations; None as long as no evaluation has succeeded."""
    label = (
        f"Scatter plot of {plural(len(run.evaluations), 'evaluation')} and {plural(len(networks), 'chosen network')}"
    )
    try:
        return _drawn("pareto", f"{label} over their cost", lambda look: pareto_figure(run, networks, look))
    except ConfigError:
        return None


def convergence_drawing(run: Run, networks: pd.DataFrame) -> Drawing | None:
    """The convergence of the distributions; None before the first recorded update."""
    if run.distributions.empty:
        return None
    label = "Curves over the updates, one line for each distribution: expected loss, expected complexity, entropy, ESS"
    return _drawn("convergence", label, lambda look: convergence_figure(run, networks, look))


def training_drawing(family: ReportedFamily) -> Drawing | None:
    """The retraining of the networks; None if none was retrained."""
    numbers = [int(network) for network in family.networks["network"]] if len(family.networks) else []
    if not is_training_known(family.training):
        return None
    label = "Curves over the epochs, one line for each network: training loss, validation, learning rate"
    return _drawn("training", label, lambda look: training_figure(family.training, numbers, look))


def latency_drawing(validation: pd.DataFrame) -> Drawing:
    """Predicted against measured latency."""
    label = f"Scatter plot of predicted against measured latency of {plural(len(validation), 'network')}"
    return _drawn("latency", label, lambda look: latency_figure(validation, look))


def _drawn(prefix: str, label: str, draw: Callable[[Look], Figure]) -> Drawing:
    wide, narrow = (
        Markup(svg_of(draw(look), label=label, prefix=f"{prefix}-{name}"))
        for name, look in (("wide", WIDE), ("narrow", NARROW))
    )
    return Drawing(wide, narrow)
