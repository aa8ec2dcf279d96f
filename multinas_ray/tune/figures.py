"""The figures of a search whose trials are its evaluations, for Ray's metrics."""

from __future__ import annotations

import math
from collections.abc import Callable

from multinas_ray.cluster import Figures, SearchMetrics
from multinas_ray.tune.trial_search import TrialSearch


class TrialFigures:
    """The figures of a search whose trials are its evaluations.

    Args:
        search: the search.
    """

    def __init__(self, search: TrialSearch) -> None:
        self._search = search

    def figures(self) -> Figures:
        """The present figures."""
        search = self._search
        return Figures(
            diagnostics=search.optimizer.diagnostics(),
            complexity_scale=_scale_of(search),
            totals={"evaluations": search.optimizer.num_told},
            levels={"trials_in_flight": len(search.live)},
        )


def _scale_of(search: TrialSearch) -> float:
    """What an expected complexity of 1 is in the cost's unit; 1 if there are several costs, NaN until it is known."""
    if search.scales is None:
        return math.nan
    return next(iter(search.scales.values())) if len(search.scales) == 1 else 1.0


class TrialMetrics:
    """Ray's metrics of a search in a pipeline. They are a side matter: a failure is told once and ends nothing.

    Args:
        record_path: the folder of the record, by whose name the search is known.
        search: the search.
        warn: tells something once for each kind.
    """

    def __init__(self, record_path: str, search: TrialSearch, warn: Callable[..., None]) -> None:
        self._name = record_path.partition("?")[0].rstrip("/").rpartition("/")[2]  # without a URI's query
        self._search, self._warn = search, warn
        self._metrics: SearchMetrics | None = None

    def tick(self) -> None:
        """Write them if it is time."""
        try:
            self._metrics = self._metrics or SearchMetrics(self._name, TrialFigures(self._search))
            self._metrics.tick()
        except Exception as error:  # whatever Ray raises, it is not worth the search
            self._warn("metrics", "The metrics cannot be written (%s). The search goes on.", error)
