"""The state of a search that Tune saves besides its record: the running trials, as plain JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from multinas_ray.errors import StateError
from multinas_ray.runs import read_document, write_document
from multinas_ray.tune.evaluation import Evaluation

STATE_REMEDY = "give the record_path of the search, so that it resumes from its record, or restore a copy of the file"


@dataclass(frozen=True)
class SavedState:
    """What a search needs besides its record to resume."""

    record_path: str | None
    """None if the search had no record yet."""
    search_id: str
    """The id in the record."""
    max_concurrent: int | None
    """Largest number of concurrent trials."""
    live: Iterable[Evaluation]
    """The running trials."""

    def write(self, file: str) -> None:
        """Write the state to a file, atomically."""
        live = [each.to_plain() for each in self.live]
        state = {"record_path": self.record_path, "search_id": self.search_id, "max_concurrent": self.max_concurrent}
        write_document(file, {**state, "live": live}, indent=None)

    @classmethod
    def read(cls, file: str) -> SavedState:
        """Read what `write` wrote.

        Raises:
            StateError: The file is damaged or of another version.
        """
        state = read_document(file, STATE_REMEDY)
        path, most, live = state.get("record_path"), state.get("max_concurrent"), state.get("live")
        search_id = state.get("search_id")
        is_plain = isinstance(path, str | None) and isinstance(most, int | None)
        if not is_plain or not isinstance(search_id, str) or not isinstance(live, list):
            raise StateError(f"{file} is not the state of a MultiNASSearch: {STATE_REMEDY}")
        try:
            return cls(path, search_id, most, [Evaluation.from_plain(each) for each in live])
        except StateError as error:
            raise StateError(f"{file} is not the state of a MultiNASSearch ({error}): {STATE_REMEDY}") from error
