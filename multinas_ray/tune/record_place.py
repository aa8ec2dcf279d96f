"""Where the record of a search in a Tune pipeline lies, and whose record it is."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from multinas_ray.errors import ConfigError, StateError
from multinas_ray.runs import has_record
from multinas_ray.storage import resolve
from multinas_ray.tune.callers import calling_experiment
from multinas_ray.tune.saved_state import SavedState
from multinas_ray.tune.starting import recorded_config

RECORDS_FOLDER = "multinas"
"""The folder of an experiment that holds the records of its searches."""


def new_search_id() -> str:
    """A name that no other search has: the time and some random digits."""
    return f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(3)}"


@dataclass
class RecordPlace:
    """The place of one search's record."""

    given: str | None
    """The user's folder; None: the experiment's own, or ~/ray_results if Tune does not call."""
    search_id: str = field(default_factory=new_search_id)
    """It is in the record, and tells whose that is."""
    path: str | None = None
    """The folder, as soon as it is settled."""
    is_restored: bool = False
    """Whether a record that is there must be resumed, since Tune has restored the searcher."""

    def __post_init__(self) -> None:
        self.given = None if self.given is None else str(resolve(self.given))
        self.path = self.path or self.given

    @property
    def known_path(self) -> str:
        """The folder.

        Raises:
            StateError: It is not settled yet.
        """
        if self.path is None:
            raise StateError(
                "the record lies in the experiment's folder, which is known when Tune begins: ask for it after fit(), "
                "or give a record_path"
            )
        return self.path

    def renewed(self) -> RecordPlace:
        """The place for a copy of the searcher, which has a record of its own."""
        return RecordPlace(self.given)

    def settle(self) -> str:
        """The folder, which is settled when the search begins."""
        experiment = calling_experiment()
        if self.path is None:
            folder = None if experiment is None else experiment.folder
            self.path = _within(folder or "~/ray_results", self.search_id)
        return self.path

    def recorded(self) -> dict[str, Any] | None:
        """The configuration of the search's own record; None if the search has not begun.

        Raises:
            ConfigError: There is the record of another search.
            StateError: It is the record of another kind of search, or its configuration is lost.
        """
        path = self.settle()
        if not has_record(path):
            return None
        config, experiment = recorded_config(path), calling_experiment()
        is_own = _is_own(config, self.search_id) and (experiment is None or experiment.is_resumed)
        if not (is_own or self.is_restored):
            raise used_before(path)
        self.search_id = config.get("search_id", self.search_id)
        return config

    def check_free(self) -> None:
        """Check that the place, if it is known, is not that of another search.

        Raises:
            ConfigError: It is.
        """
        experiment = calling_experiment()
        if self.path is not None and (experiment is None or not experiment.is_resumed):
            self.recorded()

    def has_own_record(self) -> bool:
        """Whether the search has begun, in this process or before."""
        return self.path is not None and self.recorded() is not None

    def restore(self, state: SavedState) -> None:
        """Take the record that a saved state names, from the experiment's own folder if it is there.

        Raises:
            StateError: It is lost, or there is the record of another search in its place.
        """
        self.is_restored, self.search_id = True, state.search_id
        if state.record_path is None:
            return
        experiment = calling_experiment()
        places = [state.record_path, self.given]
        if experiment is not None and experiment.folder is not None:
            places.insert(0, _within(experiment.folder, state.search_id))
        there = [place for place in places if place is not None and has_record(place)]
        own = [place for place in there if _is_own(recorded_config(place), state.search_id)]
        if not own:
            problem = (
                f"own record, {there[0]} is now that of another search"
                if there
                else f"record {state.record_path}, which is missing"
            )
            raise StateError(
                f"the saved search must have its {problem}: restore a copy of the folder, or start a new search with "
                "Tuner(...).fit()"
            )
        self.path = own[0]

    def restore_without_state(self) -> bool:
        """Take the record at the known place; False if none is there."""
        experiment = calling_experiment()
        path = self.path
        if path is None and experiment is not None and experiment.folder is not None:
            path = _within(experiment.folder, self.search_id)
        if path is None or not has_record(path):
            return False
        self.path, self.is_restored = path, True
        return True


def used_before(path: str) -> ConfigError:
    """The error of a search whose record's place is taken."""
    return ConfigError(
        f"{path} is the record of an earlier search, and a MultiNASSearch serves one; make a new one with a "
        "record_path of its own, or resume it by Tuner.restore"
    )


def _within(folder: str, search_id: str) -> str:
    return str(resolve(folder).join(RECORDS_FOLDER, search_id))


def _is_own(config: Mapping[str, Any], search_id: str) -> bool:
    return bool(config.get("search_id") == search_id)
