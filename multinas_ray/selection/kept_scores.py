"""What a selection has evaluated so far, on disk, so that one that was cut off goes on with what is missing."""

from collections.abc import Mapping
from typing import Any

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.selection.pool import Architecture
from multinas_ray.selection.scores import Score
from multinas_ray.storage import decode_plain, encode_plain

EVALUATED_FILE = "evaluated.json"


class KeptScores:
    """Scores of candidates, kept in one small file until their networks are chosen.

    Args:
        folder: that of the family to be; created if needed.
        conditions: plain data that decides the results. What was kept under others, or cannot be read, is dropped:
            it is evaluated again.
    """

    def __init__(self, folder: storage.AnyPath, conditions: Mapping[str, Any]) -> None:
        place = storage.resolve(folder)
        storage.make_folder(place)
        self._file, self._conditions = place.join(EVALUATED_FILE), decode_plain(encode_plain(conditions))
        self.results: dict[Architecture, Score] = self._read()
        """Those known."""

    def add(self, architecture: Architecture, result: Score) -> None:
        """Keep a result; it is durable on return."""
        self.results[architecture] = result
        rows = [
            [list(each), found.loss, found.accuracy, list(found.part_losses)] for each, found in self.results.items()
        ]
        content = encode_plain({"conditions": self._conditions, "results": rows})
        storage.write_atomic(self._file, content.encode())

    def remove(self) -> None:
        """Delete the file: the candidates' table has it all now."""
        storage.delete_file(self._file)

    def _read(self) -> dict[Architecture, Score]:
        if not storage.exists(self._file):
            return {}
        try:
            content: Any = decode_plain(storage.read_bytes(self._file))
            rows = content["results"] if content["conditions"] == self._conditions else []
            return {
                tuple(architecture): Score(float(loss), float(accuracy), tuple(map(float, part_losses)))
                for architecture, loss, accuracy, part_losses in rows
            }
        except (StateError, KeyError, TypeError, ValueError):
            return {}
