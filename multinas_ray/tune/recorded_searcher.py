"""A searcher that keeps a record: how it begins, is saved, restored and copied."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

from ray.tune.result import DEFAULT_METRIC
from ray.tune.search import Searcher

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import ConfigSpace, Run, load_run
from multinas_ray.tune.domains import config_space
from multinas_ray.tune.evaluation import Evaluation
from multinas_ray.tune.failure import Failure
from multinas_ray.tune.figures import TrialMetrics
from multinas_ray.tune.given import EarlierResult, Given, Points, checked_points, minimised
from multinas_ray.tune.idle import IdleWatch
from multinas_ray.tune.reading import ResultReader, Warner
from multinas_ray.tune.record_place import RecordPlace
from multinas_ray.tune.saved_state import SavedState
from multinas_ray.tune.settings import SearchSettings, resumed_settings
from multinas_ray.tune.starting import checked_space, resume_search, start_search
from multinas_ray.tune.trial_search import TrialSearch

logger = logging.getLogger(__name__)

CHANGING = (
    *("_metric", "_mode", "_settings", "_space", "_search", "_metrics", "_live"),
    *("_max_concurrent", "_idle", "_warn", "_failure"),
)
"""Attributes that a search sets. Pickles and copies do not have them."""


class RecordedSearcher(Searcher):
    """The part of a searcher that has to do with its record.

    A pickle has the arguments, the points that were added before the search, and all attributes of subclasses; together
    with the record it resumes the search. A copy begins a search of its own.
    """

    def __init__(self, arguments: dict[str, Any], given: Given, record_path: str | None) -> None:
        super().__init__(metric=given.metric, mode=given.mode)
        self._arguments, self._given = arguments, given
        self._place = RecordPlace(record_path)
        self._added: list[EarlierResult] = []
        self._begin()

    def _begin(self) -> None:
        """Set everything that changes during a search to its initial value."""
        self._metric, self._mode = self._given.metric, self._given.mode
        self._settings = SearchSettings(**self._arguments)
        space = self._given.space
        self._space = None if space is None else config_space(space)
        self._search: TrialSearch | None = None
        self._metrics: TrialMetrics | None = None
        self._live: list[Evaluation] = []
        self._max_concurrent: int | None = None
        self._idle = IdleWatch()
        self._warn = Warner()
        self._failure = Failure()

    @property
    def error(self) -> Exception | None:
        """The error of the searcher itself that ended the search; None if there is none."""
        return self._failure.error

    @property
    def record_path(self) -> str:
        """Folder of the run's record, for `load_run` and `python -m multinas_ray verify`.

        Raises:
            StateError: The search has not begun, and no folder was given.
        """
        return self._place.known_path

    def save(self, checkpoint_path: str) -> None:
        """Write the record, and the running trials, which it does not contain, as plain JSON."""
        search = self._search if self.error is None else None
        if search is not None:
            search.save()
        live: Sequence[Evaluation] = self._live if self._search is None else list(self._search.live.values())
        path = self._place.path if self._search is not None or self._place.is_restored else None
        SavedState(path, self._place.search_id, self._max_concurrent, live).write(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Resume from what `save` wrote and from the record that it names.

        If the file is damaged and this searcher knows its record, it resumes from the record alone. Results of trials
        that were running then are recorded, but the distributions do not learn from them.

        Raises:
            StateError: The file is damaged or of another version, and the record is not known; or the record that it
                names is lost or another's. Since Tune would begin anew then, the next suggestion raises it again.
        """
        self._search, self._metrics, self._live, self._failure = None, None, [], Failure()
        try:
            try:
                state = SavedState.read(checkpoint_path)
            except StateError as error:
                if not self._place.restore_without_state():
                    raise
                logger.warning("%s. The search resumes from its record %s.", error, self._place.path)
                return
            self._place.restore(state)
        except Exception as error:
            self._failure.note(error)
            raise
        self._live = list(state.live)
        self._max_concurrent = self._max_concurrent or state.max_concurrent

    def __getstate__(self) -> dict[str, Any]:
        """The state for Tune's tuner.pkl."""
        return {name: value for name, value in vars(self).items() if name not in CHANGING}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._begin()

    def __copy__(self) -> RecordedSearcher:
        return self._copied(self.__getstate__())

    def __deepcopy__(self, memo: dict[int, Any]) -> RecordedSearcher:
        return self._copied(copy.deepcopy(self.__getstate__(), memo))

    def _copied(self, state: dict[str, Any]) -> RecordedSearcher:
        other = type(self).__new__(type(self))
        place, added = self._place.renewed(), list(self._added)
        other.__setstate__({**state, "_place": place, "_added": added})
        return other

    def _run(self) -> Run:
        if self._search is not None and self.error is None and not self._search.record.session.is_over:
            self._search.record.flush()
        return load_run(self.record_path)

    def _opened(self) -> TrialSearch:
        """The search, which is opened at its first use."""
        if self._search is not None:
            return self._search
        recorded = self._place.recorded()
        path = self.record_path
        if recorded is not None:
            self._metric, self._mode = self._metric or recorded["metric"], self._mode or recorded["mode"]
            self._settings = resumed_settings(self._arguments, recorded, path)
            live, self._live = self._live, []
            space = checked_space(path, recorded, self._space)
            self._search = resume_search(path, self._settings, space, self._points_in(space), live)
            return self._search
        if self._space is None:
            raise ConfigError("the search must have a search space: give it as param_space to the Tuner, or as space")
        if self._mode is None:
            raise ConfigError("metric and mode must be set: give them to the TuneConfig or to MultiNASSearch")
        self._metric = self._metric or DEFAULT_METRIC
        logger.info("MultiNASSearch records to %s (seed %d).", path, self._settings.seed)
        points, place = self._points_in(self._space), (path, self._place.search_id)
        self._search = start_search(place, self._settings, self._space, points, (self._metric, self._mode))
        return self._search

    def _points_in(self, space: ConfigSpace) -> Points:
        known = [minimised(each, self._mode) for each in (*self._given.known, *self._added)]
        return checked_points(space, self._settings, self._given.to_run, known)

    @property
    def _results(self) -> ResultReader:
        """Reader of trials' results; it needs metric and mode, which are known once the search is opened."""
        return ResultReader(self._settings.complexities, str(self._metric), str(self._mode), self._warn)

    def _write_metrics(self, search: TrialSearch) -> None:
        self._metrics = self._metrics or TrialMetrics(self.record_path, search, self._warn)
        self._metrics.tick()

    def _note_refusal(self, search: TrialSearch) -> None:
        if self._idle.refuse(search.live):
            self._warn("lost", "Tune waits although nothing runs: trials whose end was not reported no longer count.")
