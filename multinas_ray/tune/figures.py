"""The figures of a search whose trials are its evaluations, for Ray's metrics."""

from __future__ import annotations

import math

from multinas_ray.cluster import Figures
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
            complexity_scale=math.nan if search.scale is None else search.scale,
            totals={"evaluations": search.optimizer.num_told},
            levels={"trials_in_flight": len(search.live)},
        )
