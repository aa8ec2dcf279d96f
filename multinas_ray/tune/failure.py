"""An error of the searcher itself, which ends a search and must reach the user."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


class Failure:
    """The error that ends a search, and the trials whose results are lost by it.

    Tune answers an error in `on_trial_complete` with another call for the same trial, and may run the trial again. So
    the error is raised once for each trial.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        """None while the search goes on."""
        self._lost: set[str] = set()

    def note(self, error: Exception, trial_id: str | None = None) -> None:
        """Keep the first error, which was raised for this trial."""
        if self.error is None:
            logger.error("The search stops: %s", error, exc_info=error)
            self.error = error
        if trial_id is not None:
            self._lost.add(trial_id)

    def raise_again(self, trial_id: str | None = None) -> None:
        """Raise the error, if there is one; for a trial only the first time."""
        if self.error is None or trial_id in self._lost:
            return
        if trial_id is not None:
            self._lost.add(trial_id)
        raise self.error
