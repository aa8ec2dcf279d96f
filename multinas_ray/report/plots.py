"""Pictures of a run as PNG files, drawn without changing matplotlib's global state."""

import io

import pandas as pd
from matplotlib.figure import Figure

from multinas_ray import storage
from multinas_ray.errors import ConfigError
from multinas_ray.report.figures.curves import convergence_figure
from multinas_ray.report.figures.latency import latency_figure
from multinas_ray.report.figures.look import PICTURE, PICTURE_DPI
from multinas_ray.report.figures.pareto import pareto_figure
from multinas_ray.runs import Run
from multinas_ray.settings import checked_arguments


@checked_arguments
def plot_pareto(run: Run, path: storage.AnyPath, *, cost: str | None = None) -> None:
    """Draw the K networks over all evaluations of the search, and their test errors; see `pareto_figure`.

    Args:
        run: The run.
        path: The PNG file; its folder must exist.
        cost: Column for the horizontal axis; None: the complexity of the search.

    Raises:
        ConfigError: There is no such column, or no evaluation has succeeded yet.
    """
    _save(pareto_figure(run, run.architectures, PICTURE, cost=cost), path)


@checked_arguments
def plot_distributions(run: Run, path: storage.AnyPath) -> None:
    """Draw the expected cost and the entropy of each distribution over the updates; see `convergence_figure`.

    Args:
        run: The run.
        path: The PNG file; its folder must exist.

    Raises:
        ConfigError: No update is recorded yet.
    """
    figure = convergence_figure(run, run.architectures, PICTURE, quantities=("expected_complexity", "entropy"))
    _save(figure, path)


@checked_arguments
def plot_latency(validation: pd.DataFrame, path: storage.AnyPath) -> None:
    """Draw predicted against measured latency; see `latency_figure`.

    Args:
        validation: One row for each network, with the columns `predicted_ms`, `measured_ms` and `spread`.
        path: The PNG file; its folder must exist.
    """
    if missing := [name for name in ("predicted_ms", "measured_ms", "spread") if name not in validation]:
        raise ConfigError(f"validation must have the columns predicted_ms, measured_ms and spread, it lacks {missing}")
    _save(latency_figure(validation, PICTURE), path)


def _save(figure: Figure, path: storage.AnyPath) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=PICTURE_DPI)
    storage.write_atomic(path, picture.getvalue())
