"""Scores that a selection keeps on disk, so that after an interruption it evaluates only what is missing."""

from collections.abc import Mapping
from typing import Any

from multinas_ray import storage
from multinas_ray.errors import StateError
from multinas_ray.selection.outcome import Architecture
from multinas_ray.selection.scores import Score
from multinas_ray.storage import decode_plain, encode_plain

EVALUATED_FILE = "evaluated.json"


class KeptScores:
    """The scores of candidates, kept in one small file until the networks are chosen.

    Args:
        folder: the folder of the family; it is created if needed.
        conditions: plain data that the scores depend on. Scores that were kept under other conditions or cannot be
            read are dropped, and their candidates are evaluated again.
    """

    def __init__(self, folder: storage.AnyPath, conditions: Mapping[str, Any]) -> None:
        place = storage.resolve(folder)
        storage.make_folder(place)
        self._file, self._conditions = place.join(EVALUATED_FILE), decode_plain(encode_plain(conditions))
        self.scores: dict[Architecture, Score] = self._read()
        """The scores known so far."""

    def add(self, architecture: Architecture, score: Score) -> None:
        """Keep a score; it is durable on return."""
        self.scores[architecture] = score
        rows = [
            [list(each), found.loss, found.accuracy, list(found.part_losses)] for each, found in self.scores.items()
        ]
        storage.write_plain(self._file, {"conditions": self._conditions, "scores": rows})

    def remove(self) -> None:
        """Delete the file, once the table of candidates holds all scores."""
        storage.delete_file(self._file)

    def _read(self) -> dict[Architecture, Score]:
        if not storage.exists(self._file):
            return {}
        try:
            content: Any = storage.read_plain(self._file)
            rows = content["scores"] if content["conditions"] == self._conditions else []
            return {
                tuple(architecture): Score(float(loss), float(accuracy), tuple(map(float, part_losses)))
                for architecture, loss, accuracy, part_losses in rows
            }
        except (StateError, KeyError, TypeError, ValueError):
            return {}
